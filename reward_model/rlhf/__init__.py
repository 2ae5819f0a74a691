"""Where the reward is used: trainers, servers of other projects, preference data."""
