using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>The contenders take turns, so that a machine that gets slower or faster does so for all of them.</summary>
internal static class Rounds
{
    /// <summary>Times of each contender by piece of work, after a round that does not count; none where it failed.</summary>
    /// <param name="contenders">In the order of their turns.</param>
    /// <param name="runs">Rounds that count.</param>
    /// <param name="failed">Called when a contender fails: it takes no more turns.</param>
    public static IReadOnlyList<IReadOnlyDictionary<Work, Series>> Run(
        IReadOnlyList<IContender> contenders, int runs, Action<IContender, StableDiffusionException> failed)
    {
        var times = contenders.ToDictionary(c => c, _ => Work.All.ToDictionary(w => w, _ => new List<double>()));
        var active = contenders.ToList();
        for (var round = 0; round <= runs; round++)
        {
            var label = round == 0 ? "warm-up" : $"round {round} of {runs}";
            foreach (var work in Work.All)
            {
                foreach (var contender in active.ToArray())
                {
                    try
                    {
                        var milliseconds = contender.Measure(work);
                        SharedOptions.Progress($"{label}: {work}, {contender.Name}: {(milliseconds is { } ms ? $"{ms:0} ms" : "not measured")}");
                        if (round > 0 && milliseconds is { } counted)
                        {
                            times[contender][work].Add(counted);
                        }
                    }
                    catch (StableDiffusionException e)
                    {
                        active.Remove(contender);
                        times[contender].Clear();
                        failed(contender, e);
                    }
                }
            }
        }

        return [.. contenders.Select(c => times[c].Where(w => w.Value.Count > 0).ToDictionary(w => w.Key, w => new Series(w.Value)))];
    }
}
