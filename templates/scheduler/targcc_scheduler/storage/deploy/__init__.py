"""Deploys: which release's definitions decide, and nodes that are being drained."""
