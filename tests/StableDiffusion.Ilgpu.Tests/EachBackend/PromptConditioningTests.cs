using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>What prompts become for the UNet, with a small checkpoint in fp32.</summary>
[Collection(SharedDevice.Name)]
public sealed class PromptConditioningTests : IDisposable
{
    private const int Size = 8;

    private readonly DeviceFixture fixture;
    private readonly LoadedModel model;
    private readonly DiffusionEngine<float> engine;

    public PromptConditioningTests(DeviceFixture fixture)
    {
        this.fixture = fixture;
        model = TinyModels.Load(TinyModels.Names.First(IsForTextAlone));
        engine = CreateEngine(model);
    }

    [Fact]
    public void Plain_prompts_are_their_encodings_bit_for_bit()
    {
        var expected = Vectors("blurry", "a cat, on a mat");
        Assert.Equal(expected, Assert.Single(Encode("a cat, on a mat", negative: "blurry").Distinct));
        Assert.Equal(Vectors("a cat"), Assert.Single(Encode("a cat", guided: false).Distinct));
    }

    [Theory]
    [InlineData(PromptWeighting.A1111)]
    [InlineData(PromptWeighting.Plain)]
    public void Weights_multiply_and_the_mean_is_kept(PromptWeighting weighting)
    {
        // Start, a, cat, sleeping, end and padding.
        var vectors = Vectors("a cat sleeping");
        var (width, weights) = (model.TextConfig.Hidden, Enumerable.Repeat(1.0, model.TextConfig.Tokens).ToArray());
        (weights[2], weights[3]) = (1.5, 1 / 1.1);
        double[] expected = [.. vectors.Select((v, i) => v * weights[i / width])];
        if (weighting == PromptWeighting.A1111)
        {
            var scale = vectors.Average(v => (double)v) / expected.Average();
            expected = [.. expected.Select(v => v * scale)];
        }

        var actual = Assert.Single(Encode("a (cat:1.5) [sleeping]", weighting: weighting, guided: false).Distinct);

        // One rounding to fp32.
        ReferenceData.Report($"weighted context, {weighting}", Comparisons.RelativeL2(actual, [.. expected.Select(v => (float)v)]), 1e-7);
        Assert.NotEqual(vectors, actual);
    }

    [Fact]
    public void Literal_prompts_have_no_syntax() => Assert.Equal(
        Vectors("a (cat:1.5) [dog:bird:0.5] BREAK"),
        Assert.Single(Encode("a (cat:1.5) [dog:bird:0.5] BREAK", weighting: PromptWeighting.None, guided: false).Distinct));

    [Fact]
    public void Chunks_are_encoded_apart()
    {
        float[] expected = [.. Vectors("a cat"), .. Vectors("a dog")];
        Assert.Equal(expected, Assert.Single(Encode("a cat BREAK a dog", guided: false).Distinct));
    }

    [Fact]
    public void Each_step_has_its_text()
    {
        var contexts = Encode("a [cat:dog:0.5] [x|y]", negative: "[:blurry:3]", steps: 4);
        string[] negatives = ["", "", "", "blurry"], positives = ["a cat x", "a cat y", "a dog x", "a dog y"];
        for (var step = 0; step < 4; step++)
        {
            Assert.Equal(Vectors(negatives[step], positives[step]), contexts.At(step));
        }

        // Equal pairs are kept once.
        Assert.Equal([0, 1, 0, 1], Encode("[cat|dog]", steps: 4).OfStep);
    }

    [Fact]
    public void Shorter_texts_of_a_prompt_get_empty_chunks()
    {
        var contexts = Encode("a cat[: BREAK dog:1]", steps: 2, guided: false);
        Assert.Equal([.. Vectors("a cat"), .. Vectors("")], contexts.At(0));
        Assert.Equal([.. Vectors("a cat"), .. Vectors("dog")], contexts.At(1));
    }

    /// <summary>With ids for vectors; chunks of the negative prompt and the prompt, and how often each stands there.</summary>
    [Theory]
    [InlineData(1, 1, 1, 1)]
    [InlineData(1, 3, 3, 1)]
    [InlineData(2, 3, 3, 2)]
    [InlineData(4, 2, 1, 2)]
    [InlineData(3, 16, 16, 3)]
    [InlineData(1, 60, 60, 1)]
    [InlineData(9, 10, 0, 1)]
    public void Prompts_of_different_lengths_are_repeated_whole(int negative, int positive, int negativeTimes, int positiveTimes)
    {
        static string Chunks(string word, int count) => string.Join(" BREAK ", Enumerable.Repeat(word, count));
        var context = Assert.Single(new PromptConditioning(model, (ids, _) => [.. ids.Select(id => (float)id)]).Encode(
            new GenerationRequest { Prompt = Chunks("cat", positive), NegativePrompt = Chunks("dog", negative) }, guided: true).Distinct);
        IEnumerable<float> Ids(string text, int count) => Enumerable.Repeat(model.Tokenize(text).Select(id => (float)id), count).SelectMany(i => i);
        var expected = negativeTimes > 0 ? Ids("dog", negative * negativeTimes) : Ids("dog", negative).Concat(Ids("", positive - negative));
        Assert.Equal([.. expected, .. Ids("cat", positive * positiveTimes)], context);
    }

    [Fact]
    public void Each_chunk_is_encoded_once_for_both_passes()
    {
        var (encoded, size) = (new List<string>(), model.TextConfig.Tokens);
        var conditioning = new PromptConditioning(model, (ids, _) =>
        {
            encoded.AddRange(ids.Chunk(size).Select(chunk => string.Join(' ', chunk)));
            return [.. ids.Select(id => (float)id)];
        });
        var request = new GenerationRequest { Prompt = "a [cat:dog:1.5] BREAK a mat", NegativePrompt = "a mat", Steps = 4 };
        var first = conditioning.Encode(request, guided: true);
        Assert.Equal(2, encoded.Count);
        var second = conditioning.Encode(request, guided: true, secondPassSteps: 4);
        Assert.Equal(3, encoded.Count);
        Assert.Distinct(encoded);
        Assert.Equal(first.At(3), second.At(0));
        Assert.NotEqual(first.At(3), second.At(3));
    }

    [Fact]
    public void The_UNet_gives_for_a_repeated_context_what_it_gives_for_the_context()
    {
        var (negative, positive) = ("blurry", "a cat BREAK a dog");
        var together = Run(2, Assert.Single(Encode(positive, negative).Distinct));
        var one = Run(1, Vectors(negative));
        var two = Run(1, [.. Vectors("a cat"), .. Vectors("a dog")]);
        var comparisons = new Comparisons();
        comparisons.Compare("UNet, negative prompt of one chunk repeated", together.AsSpan(0, one.Length), one, Limits.UNet(half: false));
        comparisons.Compare("UNet, prompt of two chunks", together.AsSpan(one.Length), two, Limits.UNet(half: false));
        comparisons.Verify();

        // The other convention, an empty chunk behind the shorter one, is another thing.
        var padded = Run(1, [.. Vectors(negative), .. Vectors("")]);
        Assert.True(Comparisons.RelativeL2(padded, one) > 10 * Limits.UNet(half: false));
    }

    [Fact]
    public void Editing_switches_after_its_step()
    {
        var (cat, dog) = (Encode("a cat", steps: 4), Encode("a dog", steps: 4));
        var edited = Encode("a [cat:dog:0.5]", steps: 4);
        Assert.Equal(Sample(cat, 2), Sample(edited, 2));
        Assert.NotEqual(Sample(cat, 3), Sample(edited, 3));
        Assert.NotEqual(Sample(dog, 4), Sample(edited, 4));
        Assert.Equal(Sample(edited, 4), Sample(edited, 4));

        // Putting the same text in again in the middle of a run changes nothing, and neither does editing that is over before it begins.
        Assert.Equal(Sample(cat, 4), Sample(new StepContexts([cat.At(0), [.. cat.At(0)]], [0, 1, 0, 1]), 4));
        Assert.Equal(Sample(dog, 4), Sample(Encode("a [cat:dog:0]", steps: 4), 4));
    }

    [Fact]
    public void Editing_counts_the_steps_that_a_run_takes()
    {
        var (cat, dog) = (Encode("a cat", steps: 4), Encode("a dog", steps: 4));
        var edited = Encode("a [cat:dog:0.25]", steps: 4);
        Assert.Equal(Sample(cat, 1, firstStep: 2), Sample(edited, 1, firstStep: 2));
        Assert.NotEqual(Sample(cat, 2, firstStep: 2), Sample(edited, 2, firstStep: 2));
        Assert.NotEqual(Sample(dog, 2, firstStep: 2), Sample(edited, 2, firstStep: 2));
    }

    [Fact]
    public void Clip_skip_reads_an_earlier_layer()
    {
        var comparisons = new Comparisons();
        foreach (var name in TinyModels.Names)
        {
            using var other = TinyModels.Load(name);
            var (tensors, width, layers) = (TinyModels.Tensors(name, "text_encoder"), other.TextConfig.Hidden, other.TextConfig.Layers);
            using var weights = other.OpenWeights(ModelPart.TextEncoder);
            var (scale, shift) = (new float[width], new float[width]);
            weights.Read("text_model.final_layer_norm.weight", scale);
            weights.Read("text_model.final_layer_norm.bias", shift);

            // Hidden states are stored of prompt 1 alone, before the final layer norm.
            var ids = tensors.Longs("input_ids").Select(id => (int)id).Skip(other.TextConfig.Tokens).Take(other.TextConfig.Tokens).ToArray();
            using var run = CreateEngine(other);
            float[] Encode(int[] ids, int skip) => run.Encode(ids, skip, TestContext.Current.CancellationToken);
            for (var skip = 1; skip <= layers; skip++)
            {
                var states = tensors.Floats($"hidden_states.{layers - skip + 1}");
                float[] expected = [.. states.Chunk(width).SelectMany(row => Normalize(row, scale, shift, other.TextConfig.Epsilon))];
                comparisons.Compare($"{name} clip skip {skip}", Encode(ids, skip), expected, Limits.Text(half: false));
            }

            var e = Assert.Throws<StableDiffusionException>(() => Encode(ids, layers + 1));
            Assert.Contains($"clip skip {layers + 1} cannot be used; valid for {other.Name}: 1 … {layers}", e.Message, StringComparison.Ordinal);
        }

        comparisons.Verify();
    }

    public void Dispose()
    {
        engine.Dispose();
        model.Dispose();
    }

    /// <summary>An inpainting model's UNet reads more than latents.</summary>
    private static bool IsForTextAlone(string name)
    {
        using var loaded = TinyModels.Load(name);
        return !loaded.IsInpainting;
    }

    private static IEnumerable<float> Normalize(float[] row, float[] scale, float[] shift, double epsilon)
    {
        var mean = row.Average(v => (double)v);
        var deviation = Math.Sqrt(row.Average(v => (v - mean) * (v - mean)) + epsilon);
        return row.Select((v, i) => (float)(((v - mean) / deviation * scale[i]) + shift[i]));
    }

    private DiffusionEngine<float> CreateEngine(LoadedModel loaded) => new(
        loaded, fixture.DeviceOf(new Backend(BackendProfile.Best, Half: false)), fixture.Kernels<float>(new Backend(BackendProfile.Best, Half: false)), FusionOptions.All);

    private float[] Vectors(params string[] prompts) =>
        engine.Encode([.. prompts.SelectMany(model.Tokenize)], cancellationToken: TestContext.Current.CancellationToken);

    private StepContexts Encode(
        string prompt, string negative = "", int steps = 4, PromptWeighting weighting = PromptWeighting.A1111, bool guided = true) =>
        new PromptConditioning(model, (ids, clipSkip) => engine.Encode(ids, clipSkip)).Encode(
            new GenerationRequest { Prompt = prompt, NegativePrompt = negative, Steps = steps, PromptWeighting = weighting }, guided);

    private float[] Run(int items, float[] context)
    {
        var graph = engine.UNet(items, Size, Size, tokens: context.Length / items / model.TextConfig.Hidden);
        var random = new Random(3);
        float[] sample = [.. Enumerable.Range(0, Size * Size * model.UNetConfig.InChannels).Select(_ => (float)((2 * random.NextDouble()) - 1))];
        graph.Write("sample", [.. Enumerable.Repeat(sample, items).SelectMany(s => s)]);
        graph.Write("encoder_hidden_states", context);
        graph.Write("timestep", [500]);
        foreach (var program in graph.Programs)
        {
            program.Run();
        }

        return graph.Read("out");
    }

    private float[] Sample(StepContexts contexts, int steps, int firstStep = 0)
    {
        var plan = Samplers.Find("euler").Plan(model.Schedule, 4, Scheduler.Discrete, firstStep);
        var random = new Random(4);
        return engine.Sample(new SamplingRun
        {
            Context = contexts,
            Guidance = 7,
            Height = Size,
            Width = Size,
            Plan = plan with { Steps = [.. plan.Steps.Take(steps)] },
            Draw = () => [.. Enumerable.Range(0, Size * Size * model.VaeConfig.LatentChannels).Select(_ => (float)((2 * random.NextDouble()) - 1))],
        });
    }
}
