package catalog

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/moneta-pay/moneta/doctor"
)

// generated heads what is made from the causes, so that nobody edits what the next run
// overwrites.
const generated = "Generated from doctor/catalog/causes by `go test ./doctor/catalog -update`. Do not edit."

// RulesFile is the name of the rules, beside which their tests lie.
const RulesFile = "moneta.rules.yml"

type ruleGroups struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// plain are alerts of what is no cause of an incident, as no payment waits for it.
var plain = []plainAlert{{
	Alert: doctor.Alert{
		Name: "MonetaReceiptsUnsigned", Expr: "max by (instance) (moneta_receipts_unsigned) > 0", For: "5m", Level: "ticket",
		Tests: []doctor.AlertTest{
			{Interval: "1m", Series: map[string]string{`moneta_receipts_unsigned{instance="a"}`: "0x5 1x10"}, At: "14m", Fires: true},
			{Interval: "1m", Series: map[string]string{`moneta_receipts_unsigned{instance="a"}`: "0x5 1x3 0x10"}, At: "14m"},
		},
	},
	name: doctor.Text{EN: "A node signs no receipts", ZH: "节点无法签发收据"},
	check: doctor.Text{
		EN: "Does /readyz of the node say why under receipts?",
		ZH: "该节点 /readyz 的 receipts 一栏给出了什么原因?",
	},
	page: "docs/receipts.md",
}}

type plainAlert struct {
	doctor.Alert
	name, check doctor.Text
	page        string
}

// Rules are the alert rules for a Prometheus, one a cause, a group a kind of hop, and
// those of what is no cause.
func Rules(all []doctor.Cause) ([]byte, error) {
	var out ruleGroups
	for _, kind := range doctor.Kinds() {
		g := ruleGroup{Name: "moneta-" + string(kind)}
		for i := range all {
			c := &all[i]
			if c.Kind != kind {
				continue
			}
			g.Rules = append(g.Rules, rule{
				Alert: c.Alert.Name, Expr: c.Alert.Expr, For: c.Alert.For,
				Labels: map[string]string{"severity": c.Alert.Level, "cause": c.ID},
				Annotations: map[string]string{
					"summary": c.Name.EN, "summary_zh": c.Name.ZH, "first_check": c.Checks[0].Ask.EN, "runbook": "docs/causes/" + c.ID + ".md",
				},
			})
		}
		if len(g.Rules) > 0 {
			out.Groups = append(out.Groups, g)
		}
	}
	g := ruleGroup{Name: "moneta-plain"}
	for _, a := range plain {
		g.Rules = append(g.Rules, rule{
			Alert: a.Name, Expr: a.Expr, For: a.For, Labels: map[string]string{"severity": a.Level},
			Annotations: map[string]string{"summary": a.name.EN, "summary_zh": a.name.ZH, "first_check": a.check.EN, "runbook": a.page},
		})
	}
	out.Groups = append(out.Groups, g)
	return marshal(out)
}

type ruleTests struct {
	Files    []string   `yaml:"rule_files"`
	Interval string     `yaml:"evaluation_interval"`
	Tests    []ruleTest `yaml:"tests"`
}

type ruleTest struct {
	Name     string     `yaml:"name"`
	Interval string     `yaml:"interval"`
	Series   []series   `yaml:"input_series"`
	Exprs    []exprTest `yaml:"promql_expr_test"`
}

type series struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type exprTest struct {
	Expr    string   `yaml:"expr"`
	At      string   `yaml:"eval_time"`
	Samples []sample `yaml:"exp_samples"`
}

type sample struct {
	Labels string `yaml:"labels"`
	Value  int    `yaml:"value"`
}

// RuleTests are the cases of the alerts, for `promtool test rules`. Whether an alert
// fires is asked of the series ALERTS, so that the labels of a rule are not said twice.
func RuleTests(all []doctor.Cause) ([]byte, error) {
	out := ruleTests{Files: []string{RulesFile}, Interval: "1m"}
	add := func(name string, alert *doctor.Alert) {
		for n, t := range alert.Tests {
			one := ruleTest{Name: fmt.Sprintf("%s %d", name, n), Interval: t.Interval}
			for _, s := range slices.Sorted(maps.Keys(t.Series)) {
				one.Series = append(one.Series, series{s, t.Series[s]})
			}
			fires := 0
			if t.Fires {
				fires = 1
			}
			one.Exprs = []exprTest{{
				Expr: fmt.Sprintf(`(count(ALERTS{alertname="%s",alertstate="firing"}) > bool 0) or vector(0)`, alert.Name),
				At:   t.At, Samples: []sample{{Labels: "{}", Value: fires}},
			}}
			out.Tests = append(out.Tests, one)
		}
	}
	for i := range all {
		add(all[i].ID, &all[i].Alert)
	}
	for i := range plain {
		add(plain[i].Name, &plain[i].Alert)
	}
	return marshal(out)
}

func marshal(v any) ([]byte, error) {
	b := bytes.NewBufferString("# " + generated + "\n")
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}
