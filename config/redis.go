package config

// Redis is how to reach a store that proxies share: Redis (5 or later) or
// Valkey, one server, a cluster, or whatever sentinels say is the master. Every
// filter that shares something writes it in this form.
type Redis struct {
	// Addresses are host:port or unix:PATH. Several are the seeds of one cluster;
	// with sentinel they are those of the sentinels.
	Addresses []string `yaml:"addresses" json:"addresses" required:"true"`
	// Sentinel is the name by which sentinels know the master; none: the addresses
	// are those of the store itself.
	Sentinel string `yaml:"sentinel" json:"sentinel,omitempty"`
	// Username to log in with; none: the default user.
	Username string `yaml:"username" json:"username,omitempty"`
	// Password to log in with, from a file. Sentinels are not shown it.
	Password *Secret `yaml:"password" json:"password,omitempty"`
	// Database is its number; a cluster has 0 only.
	Database int `yaml:"database" json:"database" min:"0" max:"65535"`
	// TLS encrypts the connections, those to sentinels, too.
	TLS *RedisTLS `yaml:"tls" json:"tls,omitempty"`
}

// RedisTLS says whom to trust, and who we are.
type RedisTLS struct {
	// CA are the certificates that are trusted instead of those of the system.
	CA *Secret `yaml:"ca" json:"ca,omitempty"`
	// ServerName is the name that the certificate of the store has, if it is not
	// that of the address. The nodes of a cluster are all held to it.
	ServerName string `yaml:"server_name" json:"server_name,omitempty"`
	// Certificate is shown to a store that asks for one.
	Certificate *Certificate `yaml:"certificate" json:"certificate,omitempty"`
}

// Advice is for who writes a list of addresses in its place.
func (*Redis) Advice(string) string { return "write {addresses: [HOST:PORT]}" }
