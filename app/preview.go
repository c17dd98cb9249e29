package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"

	"github.com/moneta-pay/moneta/money"
)

// shownPreview is what the API says that an action would do.
type shownPreview struct {
	Words     map[string]string `json:"words"`
	Movements []struct {
		Debit  previewSide `json:"debit"`
		Credit previewSide `json:"credit"`
		Amount string      `json:"amount"`
		Asset  string      `json:"asset"`
	} `json:"movements"`
}

type previewSide struct {
	Role    string `json:"role"`
	Account string `json:"account"`
}

func (s previewSide) String() string {
	if s.Account == "" {
		return s.Role
	}
	return s.Role + " (" + s.Account + ")"
}

// ProposePreview shows what an action would do as things are now, and proposes nothing.
func ProposePreview(ctx context.Context, p *Person, kind string, parameters map[string]string, reason string) error {
	raw, err := p.raw(ctx, http.MethodPost, "/v1/approvals/preview", map[string]any{"kind": kind, "parameters": parameters, "reason": reason})
	if err != nil {
		return err
	}
	if p.JSON {
		_, err = p.Out.Write(raw)
		return err
	}
	var v shownPreview
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	fmt.Fprintln(p.Out, marked(v.Words[p.Lang]))
	t := tabwriter.NewWriter(p.Out, 0, 4, 2, ' ', 0)
	for _, m := range v.Movements {
		amount := m.Amount
		if a, err := money.ParseMinor(amount); err == nil {
			amount = money.Format(a, money.Asset(m.Asset))
		}
		fmt.Fprintf(t, "  %s %s\t%s → %s\n", amount, m.Asset, m.Debit, m.Credit)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(v.Movements) == 0 {
		return p.tell("preview-no-movement")
	}
	return p.tell("preview-no-promise")
}
