"""`judge export-review` and `import-review`: people look at what the judge said."""
