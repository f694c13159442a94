package target

import "context"

// Known is what Create waits for.
func (t *Target) Known(ctx context.Context, topic string) (string, error) { return t.known(ctx, topic) }
