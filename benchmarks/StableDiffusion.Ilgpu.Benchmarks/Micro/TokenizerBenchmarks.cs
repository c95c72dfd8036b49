using BenchmarkDotNet.Attributes;
using StableDiffusion.Ilgpu.Text;

namespace StableDiffusion.Ilgpu.Benchmarks.Micro;

/// <summary>The built-in tokenizer on prompts.</summary>
public class TokenizerBenchmarks
{
    private const string Short = "a red apple";
    private const string Long =
        "a highly detailed oil painting of a lighthouse on a cliff at sunset, stormy sea, seagulls, dramatic clouds, in the style of the "
        + "Dutch golden age, warm light, sharp focus, 4k, café on the shore, naïve figures, 1880s sailing ships";

    private readonly ClipTokenizer tokenizer = ClipTokenizer.BuiltIn;

    /// <summary>Three words.</summary>
    [Benchmark]
    public int[] ShortPrompt() => tokenizer.Encode(Short);

    /// <summary>About fifty tokens, with letters beyond ASCII.</summary>
    [Benchmark]
    public int[] LongPrompt() => tokenizer.Encode(Long);
}
