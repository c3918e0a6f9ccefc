"""The project's folder: `disk` reads it, `files` writes to it, `journal` undoes what a killed run left half done."""
