using StableDiffusion.Ilgpu.Text;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// Prompts to what the UNet reads at each step: editing first, then weights, then chunks, each encoded by itself, weighed, and put one
/// behind the other.
/// </summary>
/// <param name="model">Tokenizer and LoRAs.</param>
/// <param name="encode">
/// Token ids of some chunks and a clip skip to their vectors (chunks, places, width); see <see cref="DiffusionEngine{T}.Encode"/>.
/// </param>
internal sealed class PromptConditioning(LoadedModel model, Func<int[], int, float[]> encode)
{
    /// <summary>Chunks that are encoded together.</summary>
    private const int Together = 2;

    /// <summary>Prompt and negative prompt are repeated to at most so many chunks; see <see cref="CommonLength"/>.</summary>
    internal const int MostChunks = 48;

    private readonly Dictionary<string, float[]> encoded = [];

    /// <summary>As the web UI's metadata call it; null for its default.</summary>
    public static string? NameOf(PromptWeighting weighting) => weighting switch
    {
        PromptWeighting.None => "None",
        PromptWeighting.Plain => "No norm",
        _ => null,
    };

    /// <summary>Refuses prompts and a clip skip that the model cannot follow. What does not count at this guidance is looked at too: pictures' settings name it.</summary>
    /// <exception cref="StableDiffusionException">A prompt names a LoRA that the model was not loaded with, or the clip skip is too high.</exception>
    public static void Check(GenerationRequest request, LoadedModel model)
    {
        model.CheckClipSkip(request.ClipSkip ?? 1);
        _ = model.WithoutLoras(request.Prompt);
        _ = model.WithoutLoras(request.NegativePrompt);
    }

    /// <param name="request">Prompts, steps and what they mean.</param>
    /// <param name="guided">Whether the negative prompt counts.</param>
    /// <param name="secondPassSteps">The steps that the second pass takes, for its contexts; null for the first pass'.</param>
    /// <exception cref="StableDiffusionException">A prompt names a LoRA that the model was not loaded with, or the clip skip is too high.</exception>
    public StepContexts Encode(GenerationRequest request, bool guided, int? secondPassSteps = null)
    {
        var (steps, stepsBefore) = secondPassSteps is { } taken ? (taken, request.Steps) : (request.Steps, 0);
        string[] prompts = guided ? [request.NegativePrompt, request.Prompt] : [request.Prompt];
        var schedules = prompts.Select(p => Schedule(model.WithoutLoras(p), request.PromptWeighting, steps, stepsBefore)).ToArray();
        var length = CommonLength(schedules[0][0].Chunks.Count, schedules[^1][0].Chunks.Count);

        // One context for each pair of texts that occurs.
        var (distinct, ofStep, indices) = (new List<List<PromptChunk>>(), new List<int>(), new Dictionary<(string, string), int>());
        for (var step = 1; step <= steps; step++)
        {
            ScheduledChunks[] texts = [.. schedules.Select(s => s.Find(e => step <= e.LastStep)!)];
            var key = (texts[0].Text, texts[^1].Text);
            if (!indices.TryGetValue(key, out var index))
            {
                indices[key] = index = distinct.Count;
                distinct.Add([.. texts.SelectMany(t => Lengthen(t.Chunks, length))]);
            }

            ofStep.Add(index);
        }

        EncodeChunks(distinct.SelectMany(c => c), request.ClipSkip ?? 1);
        return new StepContexts([.. distinct.Select(chunks => chunks.SelectMany(
            c => c.Weigh(encoded[Key(c)], request.PromptWeighting == PromptWeighting.A1111)).ToArray())], ofStep);
    }

    /// <summary>The chunks of each text that a prompt takes on, as many for each text: short ones get empty chunks.</summary>
    private List<ScheduledChunks> Schedule(string prompt, PromptWeighting weighting, int steps, int stepsBefore)
    {
        var literal = weighting == PromptWeighting.None;
        var texts = literal ? [new ScheduledPrompt(steps, prompt)] : PromptSchedule.Parse(prompt, steps, stepsBefore);
        var split = texts.Select(t => new ScheduledChunks(
            t.LastStep, t.Text, [.. model.Chunks.Split(literal ? [new PromptPart(t.Text, 1)] : PromptAttention.Parse(t.Text))])).ToList();
        var most = split.Max(s => s.Chunks.Count);
        foreach (var chunks in split.Select(s => s.Chunks))
        {
            chunks.AddRange(Enumerable.Repeat(model.Chunks.Empty, most - chunks.Count));
        }

        return split;
    }

    private void EncodeChunks(IEnumerable<PromptChunk> chunks, int clipSkip)
    {
        foreach (var some in chunks.Where(c => !encoded.ContainsKey(Key(c))).DistinctBy(Key).Chunk(Together))
        {
            var vectors = encode([.. some.SelectMany(c => c.Ids)], clipSkip);
            var size = vectors.Length / some.Length;
            for (var i = 0; i < some.Length; i++)
            {
                encoded[Key(some[i])] = vectors[(i * size)..((i + 1) * size)];
            }
        }
    }

    /// <summary>
    /// The number of chunks that prompts of different lengths get. The web UI runs such prompts apart, and so each with its own number of
    /// keys in cross-attention. Here they run together and are repeated whole up to their least common multiple: attention is a mean over
    /// the keys, whose order says nothing, so a context that stands there several times gives what it gives once. Where that would become
    /// too long, the shorter one gets empty chunks, the web UI's option "pad prompt/negative prompt".
    /// </summary>
    private static int CommonLength(int a, int b)
    {
        var (x, y) = (a, b);
        while (y != 0)
        {
            (x, y) = (y, x % y);
        }

        var common = (long)a / x * b;
        return common <= MostChunks ? (int)common : Math.Max(a, b);
    }

    private IEnumerable<PromptChunk> Lengthen(List<PromptChunk> chunks, int length) => length % chunks.Count == 0
        ? Enumerable.Repeat(chunks, length / chunks.Count).SelectMany(c => c)
        : chunks.Concat(Enumerable.Repeat(model.Chunks.Empty, length - chunks.Count));

    private sealed record ScheduledChunks(int LastStep, string Text, List<PromptChunk> Chunks);

    private static string Key(PromptChunk chunk) => string.Join(' ', chunk.Ids);
}
