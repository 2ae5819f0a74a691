"""`python -m reward_model ...` (what `accelerate launch -m` needs) and `reward-model ...`."""

try:
    from reward_model.cli.commands import main
except KeyboardInterrupt:  # while modules load there is nothing to save yet
    raise SystemExit(3) from None

if __name__ == "__main__":
    main()
