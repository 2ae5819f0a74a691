"""`python -m judge ...` is `judge ...`; both enter here."""

try:
    from judge.cli import main
except KeyboardInterrupt:  # while modules load there is nothing to save yet
    raise SystemExit(3) from None

if __name__ == "__main__":
    main()
