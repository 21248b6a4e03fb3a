"""After a round for data is sealed: valuators give it its values, challengers convict false ones.

`valuator` and `challenger` are the two roles, `jobs_folder` is the folder of a job, `checking`
finds out who is right, `shown_tables` reads what the chain was shown.
"""
