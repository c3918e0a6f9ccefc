"""Jobs for the web tests."""
