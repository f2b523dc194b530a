package basicauth

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `basic_auth`.
type Config struct {
	Realm     string `yaml:"realm" default:"api" min:"1" max:"128" doc:"What browsers show when they ask for a name and a password."`
	Anonymous bool   `yaml:"anonymous" default:"false" doc:"Let requests without a name and a password through, without a consumer. A wrong password is refused all the same."`
	Forward   bool   `yaml:"forward" default:"false" doc:"Leave the Authorization field in the request that the origin gets."`
}

// Validate is called once the settings are filled.
func (c *Config) Validate() error {
	for _, r := range c.Realm {
		if r < ' ' || r > '~' {
			return unit.Problem("realm", "a realm has printable ASCII characters only (RFC 9110 §11.5)")
		}
	}
	return nil
}

// Credential is a name and the bcrypt hash of a password.
type Credential struct {
	Username string   `yaml:"username" required:"true" min:"1" max:"255" doc:"The name. It has no colon and no control character."`
	Password Password `yaml:"password" required:"true" doc:"The bcrypt hash of the password, as printed by: htpasswd -nB NAME"`
}

// Validate is called once the credential is filled.
func (c *Credential) Validate() error {
	if len(c.Username) > maxName {
		return unit.Problem("username", fmt.Sprintf("the name is longer than %d bytes", maxName))
	}
	for i := 0; i < len(c.Username); i++ {
		if b := c.Username[i]; b == ':' || isControl(b) {
			return unit.Problem("username", "a name cannot have a colon or a control character (RFC 7617 §2)")
		}
	}
	return nil
}

// Password is a bcrypt hash.
type Password struct{ hash string }

// Form says how a password is written.
func (Password) Form() unit.Form {
	return unit.Form{
		Name:    "hash",
		Is:      "a bcrypt hash such as $2y$12$ and 53 more characters; to make one: htpasswd -nB NAME",
		Pattern: `^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`,
	}
}

var (
	errPlain = errors.New("this is not a bcrypt hash. Passwords do not stand in the configuration: write what `htpasswd -nB NAME` prints behind the colon")
	errOther = errors.New("this kind of hash is not supported: only bcrypt is, which begins with $2a$, $2b$ or $2y$; `htpasswd -nB NAME` makes one")
)

// hashLength is the length of every bcrypt hash; shapeLength that of its beginning,
// "$2y$12$".
const (
	hashLength  = 60
	shapeLength = 7
)

// maxCost bounds the time of one verification to about a second of one core.
const maxCost = 14

// UnmarshalText reads a hash. No error repeats the text: it may be a password.
func (p *Password) UnmarshalText(text []byte) error {
	s := string(text)
	known := strings.HasPrefix(s, "$2a$") || strings.HasPrefix(s, "$2b$") || strings.HasPrefix(s, "$2y$")
	if !known {
		if strings.HasPrefix(s, "$") && strings.Count(s, "$") > 2 || strings.HasPrefix(s, "{SHA") {
			return errOther
		}
		return errPlain
	}
	cost, err := bcrypt.Cost(text)
	if err != nil || len(s) != hashLength || strings.Trim(s[shapeLength:], alphabet) != "" || s[shapeLength-1] != '$' {
		return fmt.Errorf("this bcrypt hash is damaged: it is $2y$, two digits, $ and 53 characters of %s", alphabet)
	}
	if cost > maxCost {
		return fmt.Errorf("this bcrypt hash has the cost %d, which takes more than a second for each new login: the limit is %d", cost, maxCost)
	}
	p.hash = s
	return nil
}

const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// MarshalText is the hash.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.hash), nil }
