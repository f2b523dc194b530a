package fairshare

// Config is what stands behind `fair_share`.
type Config struct {
	Header  string `required:"true" doc:"The field that says which tenant a request belongs to."`
	Max     int    `required:"true" min:"1" max:"1000000" doc:"How many requests of one tenant may be under way at once."`
	Tenants int    `default:"10000" min:"1" max:"1000000" doc:"How many tenants may have requests under way at once. For one more the policy cannot decide."`
}
