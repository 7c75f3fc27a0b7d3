"""The only place that speaks SQL: tables, migrations, and one small store per aggregate."""
