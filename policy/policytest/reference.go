package policytest

import "github.com/sluice-gateway/sluice/policy"

type Page struct{}

func PageOf(k *policy.Kind) *Page                  { return &Page{} }
func (p *Page) Schema(have []byte) ([]byte, error) { return have, nil }
func (p *Page) Readme(have []byte) ([]byte, error) { return have, nil }
