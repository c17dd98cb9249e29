package schema

// MigrateFS is Migrate with other migrations, for tests of the mechanism.
var MigrateFS = migrate
