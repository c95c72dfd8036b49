using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>Something whose speed is compared.</summary>
internal interface IContender : IDisposable
{
    string Name { get; }

    /// <summary>What computes, and how, in one line.</summary>
    string About { get; }

    /// <summary>Does a piece of work once.</summary>
    /// <returns>Milliseconds; null where this contender does not do such work.</returns>
    /// <exception cref="StableDiffusionException">It failed, or answered nonsense.</exception>
    double? Measure(Work work);
}
