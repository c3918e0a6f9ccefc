"""For whom a page is written: their language and time zone."""
