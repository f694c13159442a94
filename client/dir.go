package client

func openStores(cfg Config, _ topicInfo) (stores, error) {
	return newMemoryStores(cfg.Fold, cfg.MaxRowBytes), nil
}
