"""Coal on the road: mines, stations, plants, trucks, trains, tickets, laboratories, offices and yards."""
