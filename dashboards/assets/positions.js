// Positions as the store has them, and which of them to believe.
export const KM_A_DEGREE = 111.32;
const FASTEST_M_S = 45;
const AGREE = 3;

// Rows that answer a question; none where it is refused, null where it may be answered later.
export async function asked(query) {
  try {
    const response = await fetch(`/api/query?${new URLSearchParams(query)}`);
    return response.ok ? await response.json() : response.status < 500 ? [] : null;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return null; // the server is away: the frame says so
  }
}

// The last fix of each step in [from, to), of one truck or of all: `of` says which.
export const fixes = (from, to, every, of) => asked([["measurement", "reading"], ["field", "lat_deg"], ["field", "lon_deg"],
  ["from", from], ["to", to], ["every_ms", every], ["aggregate", "last"], ...of]);

// How far `b` lies north and east of `a`. [m]
export const wayTo = (a, b) => [b.lat_deg - a.lat_deg, (b.lon_deg - a.lon_deg) * Math.cos((Math.PI / 180) * a.lat_deg)].map((degrees) => 1000 * KM_A_DEGREE * degrees);

// Those with a position, without fixes that no truck could have reached, unless several in a row agree with each other.
export function believable(points) {
  const speed = (a, b) => Math.hypot(...wayTo(a, b)) / Math.max(1, (b.window_start - a.window_start) / 1000);
  const kept = [];
  let doubted = [];
  for (const point of points) {
    if (typeof point.lat_deg !== "number" || typeof point.lon_deg !== "number") continue;
    if (!kept.length || speed(kept.at(-1), point) <= FASTEST_M_S) {
      kept.push(point);
      doubted = [];
    } else {
      doubted = doubted.length && speed(doubted.at(-1), point) > FASTEST_M_S ? [point] : [...doubted, point];
      if (doubted.length === AGREE) {
        if (kept.length === 1) kept.length = 0; // the first is no better founded than those
        kept.push(...doubted);
        doubted = [];
      }
    }
  }
  return kept;
}
