"""The command line without its script: `python -m targcc_gen`."""

from targcc_gen.cli import main

if __name__ == "__main__":
    main(prog_name="targcc-gen")
