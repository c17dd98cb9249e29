package access

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/fault"
)

// kinds are the actions about people and keys.
func (s *Store) kinds() []Kind {
	operator := Member{Name: "operator"}
	return []Kind{
		{
			Name: "add_operator", Least: Chief,
			Members: []Member{{Name: "name"}, {Name: "role"}, {Name: "credential", Max: credentialMax}},
			Check: func(_ context.Context, a *Action) error {
				if err := checkOperator(a.Parameters["name"], Role(a.Parameters["role"])); err != nil {
					return err
				}
				_, err := parseCredential(a.Parameters["credential"])
				return err
			},
			Describe: func(a *Action) fault.Text {
				name, role, c := a.Parameters["name"], a.Parameters["role"], a.Parameters["credential"]
				return fault.Text{
					En: fmt.Sprintf("Add the operator %s with the role %s and the credential %s", name, role, c),
					Zh: fmt.Sprintf("新增运营人员 %s，角色 %s，凭证 %s", name, role, c),
				}
			},
			Apply: func(ctx context.Context, tx pgx.Tx, a *Action) (string, error) {
				o, err := addOperator(ctx, tx, a.Tenant, a.Parameters["name"], Role(a.Parameters["role"]), a.Parameters["credential"], a.Maker, &a.ID)
				return o.Name, err
			},
		},
		{
			Name: "rotate_operator", Least: Chief,
			Members: []Member{operator, {Name: "credential", Max: credentialMax}},
			Check: func(_ context.Context, a *Action) error {
				_, err := parseCredential(a.Parameters["credential"])
				return err
			},
			Describe: func(a *Action) fault.Text {
				name, c := a.Parameters["operator"], a.Parameters["credential"]
				return fault.Text{
					En: fmt.Sprintf("Give the operator %s the credential %s; the old one stops, and their passkeys", name, c),
					Zh: fmt.Sprintf("为运营人员 %s 更换凭证 %s；旧凭证及其通行密钥失效", name, c),
				}
			},
			Apply: func(ctx context.Context, tx pgx.Tx, a *Action) (string, error) {
				o, err := rotateOperator(ctx, tx, a.Tenant, a.Parameters["operator"], a.Parameters["credential"], false)
				return o.Name, err
			},
		},
		{
			Name: "disable_operator", Members: []Member{operator},
			Describe: func(a *Action) fault.Text {
				return fault.Text{En: "Disable the operator " + a.Parameters["operator"] + ", for good", Zh: "永久停用运营人员 " + a.Parameters["operator"]}
			},
			Apply: func(ctx context.Context, tx pgx.Tx, a *Action) (string, error) {
				o, err := disableOperator(ctx, tx, a.Tenant, a.Parameters["operator"], a.Maker)
				return o.Name, err
			},
		},
		{
			Name: "revoke_key", Members: []Member{{Name: "prefix"}},
			Describe: func(a *Action) fault.Text {
				return fault.Text{
					En: "Revoke the API key " + a.Parameters["prefix"] + ": whoever uses it is refused within a second",
					Zh: "吊销 API 密钥 " + a.Parameters["prefix"] + "：一秒内使用者将被拒绝",
				}
			},
			Apply: func(ctx context.Context, tx pgx.Tx, a *Action) (string, error) {
				k, err := revoke(ctx, tx, a.Tenant, a.Parameters["prefix"])
				return k.Prefix, err
			},
		},
	}
}
