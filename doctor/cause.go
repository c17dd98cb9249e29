package doctor

// Cause is everything that is known about one way of failing: one file of the
// catalogue. What stands here is data; a cause that needs code is two causes.
type Cause struct {
	// ID is <kind of hop>-<mechanism>, and the name of its file.
	ID   string `json:"id" yaml:"id"`
	Kind Kind   `json:"kind" yaml:"kind"`
	// Mechanism names it in answers, unique within the kind.
	Mechanism string `json:"mechanism" yaml:"mechanism"`
	Name      Text   `json:"name" yaml:"name"`
	// Explains says in two sentences what happens and who notices first.
	Explains Text `json:"explains" yaml:"explains"`
	// Share is its part of the prior of a hop of its kind, by class of symptom.
	Share map[Class]float64 `json:"share" yaml:"share"`
	// Primary is the family of flow physics without which it cannot be: work, failures,
	// flow, wire, calls; empty where physics cannot tell.
	Primary string `json:"primary,omitempty" yaml:"primary"`
	Signs   []Sign `json:"signs" yaml:"signs"`
	Checks  []Ask  `json:"checks" yaml:"checks"`
	Alert   Alert  `json:"alert" yaml:"alert"`
	// Contain are the levers that keep it from hurting more, in the order to try.
	Contain []Step `json:"contain,omitempty" yaml:"contain"`
	// ContainNone says why there is no lever against it, where Contain is empty.
	ContainNone Text `json:"contain_none,omitzero" yaml:"contain_none"`
	// Repair are the steps that end it; the last ones verify.
	Repair []Step `json:"repair,omitempty" yaml:"repair"`
	// Never are the acts that make it worse, for the people who read the page.
	Never []Text `json:"never,omitempty" yaml:"never"`
	// Users is what holders are told, Support what support says.
	Users   Text `json:"users" yaml:"users"`
	Support Text `json:"support" yaml:"support"`
	// HotFix are the steps that a person takes by hand, with commands.
	HotFix []Text `json:"hot_fix,omitempty" yaml:"hot_fix"`
	// Drills produce it, or one much like it.
	Drills []string `json:"drills" yaml:"drills"`
	// Contract names the items of the product's contract that it covers, such as CAU-04.
	Contract []string `json:"contract,omitempty" yaml:"contract"`
	Sources  []string `json:"sources,omitempty" yaml:"sources"`
}

// Text is a sentence in both languages.
type Text struct {
	EN string `json:"en" yaml:"en"`
	ZH string `json:"zh" yaml:"zh"`
}

// In returns it in lang, English where it is not zh.
func (t Text) In(lang string) string {
	if lang == "zh" {
		return t.ZH
	}
	return t.EN
}

// Sign is what a reading says about a cause: a condition, and how much more probable
// it is with the cause than without.
type Sign struct {
	Signal    Signal `json:"signal" yaml:"signal"`
	Statistic string `json:"statistic,omitempty" yaml:"statistic"`
	// At is where to look when not at the hop that is judged: a kind of hop, such as
	// database, or a hop's name.
	At string `json:"at,omitempty" yaml:"at"`
	// Of is what of the reading is compared: last (the default), most (the largest of late), during, before, rise
	// (during less before), times (during by before) or z (spreads above before).
	Of string `json:"of,omitempty" yaml:"of"`
	// Above and Below bound it; both may be set. Gone is true when it was told before and
	// is not any more.
	Above *float64 `json:"above,omitempty" yaml:"above"`
	Below *float64 `json:"below,omitempty" yaml:"below"`
	Gone  bool     `json:"gone,omitempty" yaml:"gone"`
	// Where restricts it to a reading with these details; a value that begins with ! must
	// not be there, one that ends with * is a beginning.
	Where map[string]string `json:"where,omitempty" yaml:"where"`
	// Family: within one the strongest sign counts, across families they multiply. Empty
	// is the signal's own.
	Family string `json:"family,omitempty" yaml:"family"`
	// Yes and No are the likelihood ratios of the condition being met and not met, when it
	// was measured. What was not measured says nothing.
	Yes float64 `json:"yes" yaml:"yes"`
	No  float64 `json:"no" yaml:"no"`
	// Met and Unmet are the sentences; {value}, {before}, {hop} and {detail-key} are
	// replaced.
	Met   Text `json:"met" yaml:"met"`
	Unmet Text `json:"unmet" yaml:"unmet"`
}

// Ask is a check that a person or a machine makes to tell causes apart.
type Ask struct {
	ID  string `json:"id" yaml:"id"`
	Ask Text   `json:"ask" yaml:"ask"`
	// Run is the command or statement.
	Run   string `json:"run" yaml:"run"`
	CostS int    `json:"cost_s" yaml:"cost_s"`
	// ReadOnly ones of at most two seconds are made by the machine alone.
	ReadOnly bool `json:"read_only" yaml:"read_only"`
	Yes      Text `json:"yes" yaml:"yes"`
	No       Text `json:"no" yaml:"no"`
}

// Alert is the rule for a foreign Prometheus, generated from the cause.
type Alert struct {
	Name string `json:"name" yaml:"name"`
	Expr string `json:"expr" yaml:"expr"`
	For  string `json:"for" yaml:"for"`
	// Level is page, warn or ticket.
	Level string `json:"level" yaml:"level"`
	// Tests are series and what they raise, for promtool.
	Tests []AlertTest `json:"tests,omitempty" yaml:"tests"`
}

// AlertTest is one case of an alert: the series from minute 0, a value each interval.
type AlertTest struct {
	Interval string            `json:"interval" yaml:"interval"`
	Series   map[string]string `json:"series" yaml:"series"`
	At       string            `json:"at" yaml:"at"`
	Fires    bool              `json:"fires" yaml:"fires"`
}
