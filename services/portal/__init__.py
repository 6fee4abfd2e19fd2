"""The customer's side: businesses, customers, signed links, appointments, and the page at `/me/<token>`."""
