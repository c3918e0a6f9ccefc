"""The languages of the pages: one file ``xx.po`` each, and who reads what is being written."""
