using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>A line of a contender's output: a JSON object of the protocol in <c>benchmarks/peers/README.md</c>.</summary>
internal sealed class Answer
{
    private readonly string contender;
    private readonly JsonObject values;

    private Answer(string contender, JsonObject values) => (this.contender, this.values) = (contender, values);

    /// <summary>Null where the line is no JSON object: programs also say other things.</summary>
    public static Answer? TryParse(string contender, string line)
    {
        try
        {
            return line.AsSpan().TrimStart().StartsWith('{') && JsonNode.Parse(line) is JsonObject values ? new Answer(contender, values) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <exception cref="StableDiffusionException">The line is no JSON object.</exception>
    public static Answer Parse(string contender, string line) => TryParse(contender, line)
        ?? throw new StableDiffusionException($"{contender}: a line of JSON was expected, not '{Shortened(line)}'");

    /// <summary>Milliseconds by piece of work: those in the last line of JSON that a program printed, if it printed one.</summary>
    /// <exception cref="StableDiffusionException">One is no number above zero.</exception>
    public static Dictionary<Work, double> Figures(string contender, string output)
    {
        var answer = output.Split('\n').Select(line => TryParse(contender, line)).LastOrDefault(a => a is not null);
        return Work.All.Select(w => (Work: w, Milliseconds: answer?.Number(w.MillisecondsKey)))
            .Where(f => f.Milliseconds is not null)
            .ToDictionary(f => f.Work, f => f.Milliseconds!.Value);
    }

    public string? Text(string key) => values[key] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;

    /// <summary>A number of milliseconds or operations: finite and above zero; null where there is none of this name.</summary>
    /// <exception cref="StableDiffusionException">It is anything else.</exception>
    public double? Number(string key)
    {
        if (values[key] is not { } node)
        {
            return null;
        }

        return node is JsonValue value && value.TryGetValue<double>(out var number) && double.IsFinite(number) && number > 0 ? number
            : throw new StableDiffusionException($"{contender}: {key} is {Shortened(node.ToJsonString())}; valid: a number above zero");
    }

    /// <summary>fp32 values in base64.</summary>
    /// <exception cref="StableDiffusionException">They are missing or none.</exception>
    public float[] Values(string key)
    {
        try
        {
            return MemoryMarshal.Cast<byte, float>(Convert.FromBase64String(Text(key) ?? "-")).ToArray();
        }
        catch (FormatException e)
        {
            throw new StableDiffusionException($"{contender}: {key}: fp32 values in base64 were expected", e);
        }
    }

    private static string Shortened(string text) => text.Length <= 80 ? text : text[..80] + "…";
}
