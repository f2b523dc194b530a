package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// dump writes a document with the place of everything that has one.
func dump(d *Document) string {
	var b strings.Builder
	write := func(name string, v reflect.Value, base int) {
		fmt.Fprintf(&b, "%s: ", name)
		dumpValue(&b, v, base, "")
		b.WriteByte('\n')
	}
	write("admin", reflect.ValueOf(d.Admin), 0)
	write("telemetry", reflect.ValueOf(d.Telemetry), 0)
	write("drain", reflect.ValueOf(d.Drain), 0)
	for _, i := range d.Listeners {
		write("listener", reflect.ValueOf(*i.Value), i.base)
	}
	for _, i := range d.Upstreams {
		write("upstream", reflect.ValueOf(*i.Value), i.base)
	}
	for _, i := range d.Consumers {
		write("consumer", reflect.ValueOf(*i.Value), i.base)
	}
	for _, i := range d.Policies {
		write("policy", reflect.ValueOf(*i.Value), i.base)
	}
	for _, i := range d.Routes {
		write("route", reflect.ValueOf(*i.Value), i.base)
	}
	return b.String()
}

func dumpValue(b *strings.Builder, v reflect.Value, base int, indent string) {
	switch x := v.Interface().(type) {
	case Mark:
		if x != (Mark{}) {
			fmt.Fprintf(b, "@%d:%d", int(x.Line)+base, x.Column)
		}
		return
	case Node:
		dumpTree(b, x.t, base)
		return
	case Text:
		fmt.Fprintf(b, "%q", x.Value)
		dumpValue(b, reflect.ValueOf(x.Mark), base, indent)
		return
	case Path, Condition: // field by field: with the places
	case fmt.Stringer:
		if v.Kind() != reflect.Pointer || !v.IsNil() {
			b.WriteString(x.String())
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("none")
			return
		}
		dumpValue(b, v.Elem(), base, indent)
	case reflect.Slice:
		for i := range v.Len() {
			b.WriteString("\n" + indent + "  - ")
			dumpValue(b, v.Index(i), base, indent+"    ")
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !v.Field(i).IsZero() {
				b.WriteString("\n" + indent + "  " + f.Name + ": ")
				dumpValue(b, v.Field(i), base, indent+"  ")
			}
		}
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprint(b, v.Interface())
	}
}

func dumpTree(b *strings.Builder, t *tree, base int) {
	if t == nil {
		b.WriteString("<none>")
		return
	}
	fmt.Fprintf(b, "@%d:%d", int(t.line)+base, t.column)
	switch t.kind {
	case unit.Null:
		b.WriteString("null")
	case unit.Scalar:
		fmt.Fprintf(b, "%q", t.text)
		if t.broken {
			b.WriteString("(broken)")
		}
		if t.plain {
			fmt.Fprintf(b, "(%s)", t.look)
		}
		if t.expanded {
			fmt.Fprintf(b, "(was %q)", t.written())
		}
	case unit.Sequence:
		b.WriteByte('[')
		for i := range t.children {
			dumpTree(b, &t.children[i], base)
			b.WriteByte(' ')
		}
		b.WriteByte(']')
	case unit.Mapping:
		b.WriteByte('{')
		for i := range t.children {
			dumpTree(b, &t.children[i], base)
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	}
}
