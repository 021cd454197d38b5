"""How alike two representations of the same items are: HSIC and CKA."""

__all__: list[str] = []
