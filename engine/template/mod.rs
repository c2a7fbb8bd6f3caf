//! Templates with Jinja2 syntax (minijinja), and the filters that Ansible users expect.
