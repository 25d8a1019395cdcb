"""The page that ``foreachonce report`` writes: one file of HTML with its plots inside, and nothing from elsewhere."""
