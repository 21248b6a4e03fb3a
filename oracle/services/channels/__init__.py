"""Payment channels as people use them: offers, deposits of payers, held claims, summons."""
