"""One side of a network, supply or return: flows, pressures and the heat that travels with the water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator import water
from simulator.network.hydraulics import ROUGHNESS_M, Graph, pressure_drop_pa
from simulator.network.plugflow import PlugFlow

__all__ = ["Pipes", "Side"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pipes:
    """Geometry of the pipes of one side; arrays of shape (pipes,).

    Attributes
    ----------
    names, from_node, to_node : tuple of str
    length_m, diameter_m : ndarray
        Length and inner diameter. [m]
    u_w_m_k : ndarray
        Heat lost for each metre and kelvin over the ground. [W/(m K)]
    roughness_m : float or ndarray
        Inner roughness. [m]
    wall_kj_k : ndarray, optional
        Heat capacity of each pipe's steel; without it walls store nothing. [kJ/K]
    """

    names: tuple[str, ...]
    from_node: tuple[str, ...]
    to_node: tuple[str, ...]
    length_m: Array
    diameter_m: Array
    u_w_m_k: Array
    roughness_m: float | Array = ROUGHNESS_M
    wall_kj_k: Array | None = None

    @property
    def volume_m3(self) -> Array:
        """Content of each pipe. [m³]."""
        volume: Array = np.pi / 4.0 * self.diameter_m**2 * self.length_m
        return volume


class Side:
    """Supply or return pipes with what stands in them.

    Attributes
    ----------
    flow_kg_s : ndarray, shape (pipes,)
        Flow of the last step, positive from a pipe's first node to its second.
    node_h : ndarray, shape (nodes,)
        Enthalpy of the water that passed each node in the last step. [kJ/kg]
    """

    def __init__(self, pipes: Pipes, root: str, t_c: float, *, parcels: int = 24) -> None:
        self.pipes = pipes
        self.graph = Graph(pipes.from_node, pipes.to_node, root)
        h = float(water.enthalpy_kj_kg(t_c))
        self.content = PlugFlow(
            pipes.volume_m3, pipes.u_w_m_k * pipes.length_m, h, parcels=parcels, wall_kj_k=pipes.wall_kj_k
        )
        self.flow_kg_s = np.zeros(len(pipes.names))
        self.node_h = np.full(len(self.graph.nodes), h)
        self._forward = np.ones(len(pipes.names), dtype=bool)  # which way the parcels are ordered
        self._refill_kg = np.zeros(len(pipes.names))
        self._seconds = 1.0

    def solve(self, draw_kg_s: Array, seconds: float) -> float:
        """Spread flows so that each node gets what it draws and pipes are refilled after shrinking.

        Parameters
        ----------
        draw_kg_s : ndarray, shape (nodes,)
            What leaves this side at each node, negative where water comes in. What leaves at the root, beside
            what the plant takes and gives there, flows through no pipe.

        Returns
        -------
        float
            What the root must give for it, negative where it takes. [kg/s]
        """
        t_c = water.temperature_c(self.content.mean_h())
        forward = self._forward
        # A pipe that swells gives back at most half of its flow in one step; the rest waits.
        refill = np.maximum(self.content.deficit_kg(), -0.5 * np.abs(self.flow_kg_s) * seconds)
        while True:
            up = np.where(forward, self.graph.from_index, self.graph.to_index)
            draw = draw_kg_s + np.bincount(up, refill / seconds, minlength=len(draw_kg_s))
            flow = self.graph.flows(draw, lambda kg_s: self._drop_pa(kg_s, t_c))
            flow = self.graph.straighten(flow)
            now = np.where(flow == 0.0, forward, flow > 0.0)
            # Refilled at an end that has just become the outlet, or squeezed out at the inlet: it waits.
            wrong = (refill != 0.0) & ((now != forward) | (np.abs(flow) * seconds + refill < 0.0))
            if not wrong.any():
                break
            refill[wrong] = 0.0
        self.content.reverse(np.flatnonzero(now != forward))
        self._forward = now
        self.flow_kg_s, self._refill_kg, self._seconds = flow, refill, seconds
        return float(draw_kg_s[1:].sum() + refill.sum() / seconds + draw_kg_s[0])

    def carry(self, inject_kg: Array, inject_h: Array, ground_c: float) -> Array:
        """Move the water of one step and cool it.

        Parameters
        ----------
        inject_kg, inject_h : ndarray, shape (nodes,)
            Water that enters this side at each node, and its enthalpy. [kg], [kJ/kg]

        Returns
        -------
        ndarray, shape (pipes,)
            Heat lost by each pipe. [kJ]
        """
        forward = self._forward
        up = np.where(forward, self.graph.from_index, self.graph.to_index)
        down = np.where(forward, self.graph.to_index, self.graph.from_index)
        out_kg = np.abs(self.flow_kg_s) * self._seconds
        in_kg, every = out_kg + self._refill_kg, np.arange(len(out_kg))
        left, gone, fresh_kg = self.content.drain(every, in_kg, out_kg)
        mass = inject_kg + np.bincount(down, out_kg, minlength=len(inject_kg))
        energy = inject_kg * inject_h

        def leave(pipes: NDArray[np.int64]) -> None:
            gone[pipes] -= self.content.pass_wall(pipes, gone[pipes], out_kg[pipes])
            np.add.at(energy, down[pipes], gone[pipes])

        # What leaves a pipe that is not flushed within the step does not depend on what enters it.
        flushed = fresh_kg > 0.0
        leave(np.flatnonzero(~flushed))
        for group in self.graph.order(np.flatnonzero(flushed), up, down):
            source = up[group]
            gone[group] += fresh_kg[group] * energy[source] / mass[source]
            leave(group)
        known = mass > 0.0
        h = np.where(known, energy / np.where(known, mass, 1.0), self.node_h)
        self.content.store(every, left, in_kg - fresh_kg, h[up])
        self.node_h = h
        return self.content.cool(ground_c, self._seconds)

    def pressures_kpa(self) -> Array:
        """Pressure of each node over the root's. [kPa]."""
        t_c = water.temperature_c(self.content.mean_h())
        relative: Array = self.graph.pressures_pa(self._drop_pa(self.flow_kg_s, t_c)) / 1000.0
        return relative

    def _drop_pa(self, flow_kg_s: Array, t_c: Array) -> Array:
        pipes = self.pipes
        return pressure_drop_pa(flow_kg_s, pipes.length_m, pipes.diameter_m, t_c, pipes.roughness_m)
