"""Where configuration comes from: HTTP(S) URLs, etcd, ConfigMaps and Secrets; nothing here knows what becomes of it."""
