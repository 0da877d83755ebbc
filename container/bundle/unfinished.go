package bundle

// Unfinished returns, by name, the bundles that have no config.json: somebody is making them at
// this moment, or was killed while making them. Who may remove them must know that nobody is.
func (s Store) Unfinished() (map[string]*Bundle, error) {
	f, err := s.Finder()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := map[string]*Bundle{}
	if f.names == nil {
		return found, nil
	}
	names, err := f.names.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if id := f.holder(name); id != "" {
			if b := f.load(id); b.Spec.Process == nil {
				found[name] = b
			}
		}
	}
	return found, nil
}
