// Positions as the store has them, and which of them to believe.
const KM_A_DEGREE = 111.32;
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

// Without fixes that no truck could have reached, unless several in a row agree with each other.
export function believable(points) {
  const speed = (a, b) => (1000 * KM_A_DEGREE * Math.hypot(a.lat_deg - b.lat_deg, (a.lon_deg - b.lon_deg) * Math.cos((Math.PI / 180) * a.lat_deg))) / Math.max(1, (b.window_start - a.window_start) / 1000);
  const kept = [];
  let doubted = [];
  for (const point of points) {
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
