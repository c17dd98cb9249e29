package doctor

// The hops of our own plane, by the names that facts, signals, causes and answers use.
// A channel is a hop under its own name. Attached wallets bring their own names.
const (
	HopClient    = "client"    // who calls the API
	HopAPI       = "api"       // the HTTP edge
	HopServe     = "serve"     // the process: runtime, pool, loops
	HopDecider   = "decider"   // the one writer of money
	HopDispatch  = "dispatch"  // sends orders to channels; its lanes are told apart by the statistic
	HopTimer     = "timer"     // wakes what waits
	HopCallbacks = "callbacks" // takes in what channels tell, raw
	HopSettle    = "settle"    // applies it, and asks for what is unknown
	HopRecon     = "recon"     // statements against the ledger
	HopWebhooks  = "webhooks"  // tells the wallet's partners
	HopPostgres  = "postgres"  // the record of money
	HopHolder    = "holder"    // the customer, while we wait for him
	HopOperator  = "operator"  // one of us, while work waits for a person
)

// Road is our own plane with these channels: its hops, and who calls or hands on to whom.
func Road(channels ...string) ([]Hop, []Call) {
	hops := []Hop{
		{HopClient, Client},
		{HopAPI, Gateway},
		{HopServe, Service},
		{HopDecider, Service},
		{HopDispatch, Queue},
		{HopTimer, Queue},
		{HopCallbacks, Relay},
		{HopSettle, Queue},
		{HopRecon, Projection},
		{HopWebhooks, Webhook},
		{HopPostgres, Database},
	}
	calls := []Call{
		{HopClient, HopAPI},
		{HopAPI, HopServe},
		{HopServe, HopDecider},
		{HopServe, HopPostgres},
		{HopDecider, HopPostgres},
		{HopDecider, HopDispatch},
		{HopTimer, HopDispatch},
		{HopCallbacks, HopSettle},
		{HopSettle, HopDecider},
		{HopDecider, HopWebhooks},
	}
	for _, c := range channels {
		hops = append(hops, Hop{c, Channel})
		calls = append(calls, Call{HopDispatch, c}, Call{c, HopCallbacks}, Call{HopRecon, c})
	}
	return hops, calls
}
