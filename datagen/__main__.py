"""`python -m datagen ...` is `datagen ...`."""

try:
    from datagen.cli import main
except KeyboardInterrupt:  # while modules load there is nothing to save yet
    raise SystemExit(3) from None

main()
