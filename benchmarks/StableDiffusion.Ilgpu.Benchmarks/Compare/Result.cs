using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>Whose code a contender runs.</summary>
internal enum Side
{
    /// <summary>This library, on all of a device.</summary>
    Ours,

    /// <summary>This library on some of the processor's cores: for scaling only.</summary>
    OursOnCores,

    Peer,
}

/// <summary>What the rounds gave for a contender.</summary>
/// <param name="Name">What the tables call it.</param>
/// <param name="About">What computes, and how.</param>
/// <param name="Side">Whose code it is.</param>
/// <param name="Cores">Cores of the processor that it was to use.</param>
/// <param name="Series">Times by piece of work.</param>
/// <param name="Errors">Relative L2 distance of its results from ours, where it gives them.</param>
/// <param name="Seconds">Wall time of a command's runs, where nothing else is known of it.</param>
internal sealed record Result(
    string Name, string About, Side Side, int Cores, IReadOnlyDictionary<Work, Series> Series, IReadOnlyDictionary<Work, double> Errors,
    IReadOnlyList<double> Seconds);
