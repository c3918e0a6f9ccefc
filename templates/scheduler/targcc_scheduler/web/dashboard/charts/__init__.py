"""Charts as SVG, drawn on the server. Colours come from the style sheet by the class of the state."""
