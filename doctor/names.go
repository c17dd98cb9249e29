package doctor

// hopWords are what people call a hop.
var hopWords = map[string]Text{
	HopAPI:       {EN: "the API", ZH: "API 入口"},
	HopServe:     {EN: "the serving process", ZH: "服务进程"},
	HopDecider:   {EN: "the ledger's writer", ZH: "账本写入者"},
	HopDispatch:  {EN: "dispatch", ZH: "发送环节"},
	HopTimer:     {EN: "the timers", ZH: "定时器"},
	HopCallbacks: {EN: "the callbacks", ZH: "回调接收"},
	HopSettle:    {EN: "settling", ZH: "结果核实"},
	HopRecon:     {EN: "reconciliation", ZH: "对账"},
	HopWebhooks:  {EN: "the webhooks", ZH: "商户通知"},
	HopPostgres:  {EN: "the database", ZH: "数据库"},
	HopHolder:    {EN: "the holders", ZH: "持有人"},
	HopOperator:  {EN: "our people", ZH: "人工处理"},
}

// Called is what people call a hop; a channel has its own name.
func Called(name string) Text {
	if t, ok := hopWords[name]; ok {
		return t
	}
	return Text{EN: name, ZH: name}
}
