  // Where nodes and predicate labels go, so that no text covers another; as in graph_layout.py, but the nodes start where
  // the objects lie in the image: the graph looks like the picture, and changes little when relations come or go.

  const EDGE_LENGTH = [64, 42];  // between an object and a predicate label; text is wider than high
  const GAP = 8, PART_GAP = 18, DENSEST = 0.55, NARROWEST = 0.2;

  /** Numbers of edges between nodes, Infinity where there is no way. */
  function hopCounts(count, neighbours) {
    return Array.from({ length: count }, (_, source) => {
      const hops = new Array(count).fill(Infinity), queue = [source];
      hops[source] = 0;
      for (const node of queue) {
        for (const next of neighbours[node]) if (hops[next] === Infinity) queue.push(next), hops[next] = hops[node] + 1;
      }
      return hops;
    });
  }

  /** Moves points until distances are like numbers of hops (stress majorization; Gansner et al., 2004). */
  function majorize(points, hops) {
    for (let round = 0; round < 80; round++) {
      points.forEach((point, i) => {
        let x = 0, y = 0, total = 0;
        points.forEach((other, j) => {
          if (i === j) return;
          const weight = hops[i][j] ** -2, dx = point[0] - other[0], dy = point[1] - other[1];
          const stretch = hops[i][j] / Math.max(Math.hypot(dx, dy), 1e-6);
          x += weight * (other[0] + stretch * dx);
          y += weight * (other[1] + stretch * dy);
          total += weight;
        });
        if (total) point[0] = x / total, point[1] = y / total;
      });
    }
  }

  const extent = (points, axis) => {
    const values = points.map(point => point[axis]);
    return Math.max(...values) - Math.min(...values);
  };

  /** Moves rectangles until none overlaps; sideways only as far as the room is wide. */
  function pushApart(points, sizes, room) {
    const pushes = points.map(() => [0, 0]);
    for (let touching = true; touching;) {
      touching = false;
      const narrow = extent(points, 0) > room;
      for (const push of pushes) push[0] = push[1] = 0;
      for (let i = 0; i < points.length; i++) {
        for (let j = 0; j < i; j++) {
          const dx = points[i][0] - points[j][0], overlapX = (sizes[i][0] + sizes[j][0]) / 2 + GAP - Math.abs(dx);
          const dy = points[i][1] - points[j][1], overlapY = (sizes[i][1] + sizes[j][1]) / 2 + GAP - Math.abs(dy);
          if (overlapX <= 0.01 || overlapY <= 0.01) continue;
          touching = true;
          const axis = overlapX < overlapY && !narrow ? 0 : 1;
          const push = axis ? Math.sign(dy || 1) * overlapY / 4 : Math.sign(dx || 1) * overlapX / 4;
          pushes[i][axis] += push;
          pushes[j][axis] -= push;
        }
      }
      // Growing slowly guarantees an end where pushes go in circles.
      points.forEach((point, i) => {
        point[0] = (point[0] + pushes[i][0]) * (narrow ? 1 : 1.002);
        point[1] = (point[1] + pushes[i][1]) * 1.002;
      });
    }
  }

  /** Nodes that hang together, as lists of their numbers. */
  function connectedParts(hops) {
    return hops.map((row, i) => row.flatMap((hop, j) => hop < Infinity ? [j] : [])).filter((part, i) => part[0] === i);
  }

  function layoutPart(part, { sizes, start, room }, hops) {
    const near = part.map(i => part.map(j => hops[i][j]));
    const reach = Math.max(1, ...near.flat());
    // Points that coincide are turned away from each other, always in the same way.
    const points = part.map((node, i) => start[node].map((value, axis) =>
      reach * (value + 0.02 * (axis ? Math.sin(2.4 * i) : Math.cos(2.4 * i)))));
    majorize(points, near);
    const least = [NARROWEST, DENSEST], partSizes = part.map(node => sizes[node]);
    const widest = Math.max(...partSizes.map(size => size[0]));
    const space = [Math.max(room[0] - widest, 1), room[1]];
    for (const axis of [0, 1]) {
      const middle = points.reduce((sum, point) => sum + point[axis], 0) / points.length;
      const dense = Math.max(space[axis] / Math.max(EDGE_LENGTH[axis] * extent(points, axis), 1), least[axis]);
      for (const point of points) point[axis] = (point[axis] - middle) * EDGE_LENGTH[axis] * Math.min(1, dense);
    }
    pushApart(points, partSizes, space[0]);
    const low = [0, 1].map(axis => Math.min(...points.map((point, i) => point[axis] - partSizes[i][axis] / 2)));
    const high = [0, 1].map(axis => Math.max(...points.map((point, i) => point[axis] + partSizes[i][axis] / 2)));
    return { part, size: [high[0] - low[0], high[1] - low[1]], points: points.map(point => [point[0] - low[0], point[1] - low[1]]) };
  }

  /** Puts the parts into rows, high ones first. */
  function packParts(parts, count, width) {
    const centers = new Array(count), total = [0, 0];
    let x = 0, y = 0, rowHeight = 0;
    for (const { part, size, points } of parts.sort((a, b) => b.size[1] - a.size[1])) {
      if (x > 0 && x + size[0] > width) x = 0, y += rowHeight + PART_GAP, rowHeight = 0;
      part.forEach((node, i) => centers[node] = [x + points[i][0], y + points[i][1]]);
      rowHeight = Math.max(rowHeight, size[1]);
      x += size[0] + PART_GAP;
      total[0] = Math.max(total[0], x - PART_GAP);
      total[1] = Math.max(total[1], y + rowHeight);
    }
    return { centers, size: total };
  }

  /**
   * Places texts of a graph. `sizes` and `start` hold [x, y] of each node, `start` in shares of the image; `edges` pairs of
   * node numbers; `room` the width and height to fill. Gives `centers` and the `size` of all, in pixels.
   */
  function layoutGraph(graph) {
    const neighbours = graph.sizes.map(() => []);
    for (const [a, b] of graph.edges) neighbours[a].push(b), neighbours[b].push(a);
    const hops = hopCounts(graph.sizes.length, neighbours);
    const parts = connectedParts(hops).map(part => layoutPart(part, graph, hops));
    return packParts(parts, graph.sizes.length, graph.room[0]);
  }
