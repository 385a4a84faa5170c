"""Plans a call: the models that it may use, in order, and the reasons for skipped models. Calls no model."""
