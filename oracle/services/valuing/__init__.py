"""After a round for data is sealed: valuators give it its values, challengers convict false ones.

`rounds` reads what the chain says, `work` is the folder of a job, `valuator` and `challenger` are
the two roles, `checking` finds out who is right, `opening` shows nodes of trees.
"""
