using System.Text.Json;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>A case of the reference's single operators: what to run, and the stored result, channels last.</summary>
internal sealed record ReferenceOp(OpCase Case, float[] Expected);

/// <summary>The operator cases of the reference data (ops.json, ops.safetensors): stored in NCHW, run channels last.</summary>
internal static class ReferenceOps
{
    private static readonly Lazy<JsonElement> Cases =
        new(() => JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(ReferenceData.PathOf("ops", "ops.json"))));

    private static readonly Lazy<TestTensors> Tensors = new(() => TestTensors.Open("ops", "ops.safetensors"));

    public static IEnumerable<string> Names => Cases.Value.EnumerateObject().Select(c => c.Name);

    public static ReferenceOp Load(string name)
    {
        var json = Cases.Value.GetProperty(name);
        var (record, expected) = Kind(name) switch
        {
            "conv2d" => Conv(name, json),
            "linear" => Layer(name, Linear),
            "geglu" => Layer(name, (s, x, outputs) => Linear(s, x, outputs).Geglu()),
            "group_norm" => GroupNorm(name, json),
            "layer_norm" => Layer(name, (s, x, _) => s.LayerNorm(x, json.GetProperty("eps").GetDouble())),
            "silu" => Layer(name, (_, x, _) => x.Silu()),
            "gelu_erf" => Layer(name, (_, x, _) => x.Activate(Activation.Gelu)),
            "quick_gelu" => Layer(name, (_, x, _) => x.Activate(Activation.QuickGelu)),
            "attention" => Attention(name, json),
            "softmax" => Softmax(name),
            "concat_channels" => Concat(name),
            "timestep_embedding" => Timesteps(name, json),
            _ when name.StartsWith("upsample_nearest", StringComparison.Ordinal) => Upsample(name),
            _ => throw new InvalidOperationException($"{name}: no such operation is known"),
        };
        return new ReferenceOp(
            new OpCase(name, g => g.Output("out", record(g)))
            {
                Values = (key, count) => key == OpCase.Apart ? null : Values(name, key, count),
            },
            expected);

        Value Linear(Scope s, Value x, int outputs) =>
            s.Linear(x, Tensors.Value.Shape($"{name}.weight")[0], Tensors.Value.Has($"{name}.bias"));
    }

    /// <summary>The part of a case's name that says what it is.</summary>
    public static string Kind(string name) => name.Split('.')[0];

    private static (Func<Graph, Value> Record, float[] Expected) Conv(string name, JsonElement json)
    {
        var pad = json.GetProperty("pad_left_right_top_bottom").EnumerateArray().Select(p => p.GetInt32()).ToArray();
        var window = new Window(json.GetProperty("kernel").GetInt32(), json.GetProperty("stride").GetInt32(), pad[0], pad[1], pad[2],
            pad[3]);
        var channels = Tensors.Value.Shape($"{name}.weight")[0];
        return (g => new Scope(g).Conv(Input(g, name, "x"), channels, window, Tensors.Value.Has($"{name}.bias")), Expected(name));
    }

    private static (Func<Graph, Value> Record, float[] Expected) GroupNorm(string name, JsonElement json)
    {
        var (groups, epsilon) = (json.GetProperty("groups").GetInt32(), json.GetProperty("eps").GetDouble());
        return Layer(name, (s, x, _) => json.GetProperty("silu").GetBoolean() ? s.GroupNorm(x, groups, epsilon).Silu()
            : s.GroupNorm(x, groups, epsilon));
    }

    private static (Func<Graph, Value> Record, float[] Expected) Layer(string name, Func<Scope, Value, int, Value> layer) =>
        (g => layer(new Scope(g), Input(g, name, "x"), Tensors.Value.Shape($"{name}.y")[^1]), Expected(name));

    /// <summary>Stored with the heads apart; here they lie side by side in the channels.</summary>
    private static (Func<Graph, Value> Record, float[] Expected) Attention(string name, JsonElement json) => (
        g =>
        {
            Value Part(string key)
            {
                var shape = Tensors.Value.Shape($"{name}.{key}");
                return g.Input(key, new Shape(shape[0], 1, shape[2], shape[1] * shape[3]), ElementType.Activation, Rate.Step);
            }

            return new Scope(g).Attention(
                Part("q"), Part("k"), Part("v"), json.GetProperty("heads").GetInt32(), json.GetProperty("causal").GetBoolean());
        },
        Axes.Permute(Tensors.Value.Floats($"{name}.y"), Tensors.Value.Shape($"{name}.y"), 0, 2, 1, 3));

    /// <summary>
    /// There is no softmax by itself: attention gives it with [1 1] for keys (times sqrt d, d = 4^n) and [1 0] for values, 1 being the
    /// identity. The logits, which attention holds in fp32, are given as two fp16 numbers each, so that no storage rounds them.
    /// </summary>
    private static (Func<Graph, Value> Record, float[] Expected) Softmax(string name)
    {
        var shape = Tensors.Value.Shape($"{name}.x");
        var (rows, count, size) = (shape[..^1].Aggregate(1, (a, b) => a * b), shape[^1], SoftmaxSize(shape[^1]));
        var expected = new float[rows * size];
        CopyRows(Tensors.Value.Floats($"{name}.y"), count, expected, size);
        return (
            g =>
            {
                Value Part(string key, int length) => g.Input(key, new Shape(1, 1, length, size), ElementType.Activation, Rate.Step);
                return new Scope(g).Attention(Part("softmax.q", rows), Part("softmax.k", count), Part("softmax.v", count), heads: 1);
            },
            expected);
    }

    private static (Func<Graph, Value> Record, float[] Expected) Concat(string name) =>
        (g => Input(g, name, "a").Concat(Input(g, name, "b")), Expected(name));

    private static (Func<Graph, Value> Record, float[] Expected) Upsample(string name)
    {
        var shape = Tensors.Value.Shape($"{name}.y");
        return (g => Input(g, name, "x").Resize(shape[2], shape[3]), Expected(name));
    }

    private static (Func<Graph, Value> Record, float[] Expected) Timesteps(string name, JsonElement json) => (
        g =>
        {
            var t = g.Input("t", new Shape(Tensors.Value.Shape($"{name}.t")[0], 1, 1, 1), ElementType.Float32, Rate.Schedule);
            return new Scope(g).TimestepEmbedding(t, json.GetProperty("dim").GetInt32(), cosineFirst: true, frequencyShift: 0);
        },
        Tensors.Value.Floats($"{name}.y"));

    private static Value Input(Graph g, string name, string key) =>
        g.Input(key, Axes.ChannelsLastShape(Tensors.Value.Shape($"{name}.{key}")), ElementType.Activation, Rate.Step);

    private static float[] Expected(string name) =>
        Axes.ToChannelsLast(Tensors.Value.Floats($"{name}.y"), Tensors.Value.Shape($"{name}.y"));

    private static float[] Values(string name, string key, int count)
    {
        var tensor = $"{name}.{key}";
        if (key.StartsWith("softmax.", StringComparison.Ordinal))
        {
            return SoftmaxOperand(name, key, count);
        }

        if (!Tensors.Value.Has(tensor))
        {
            // group_norm.large_mean stores no scale and offset.
            return [.. Enumerable.Repeat(key == "weight" ? 1f : 0f, count)];
        }

        if (Tensors.Value.Type(tensor) == "I64")
        {
            return [.. Tensors.Value.Longs(tensor).Select(v => (float)v)];
        }

        var values = Tensors.Value.Floats(tensor);
        return key is "weight" or "bias" ? values
            : Kind(name) == "attention" ? Axes.Permute(values, Tensors.Value.Shape(tensor), 0, 2, 1, 3)
            : Axes.ToChannelsLast(values, Tensors.Value.Shape(tensor));
    }

    private static float[] SoftmaxOperand(string name, string key, int length)
    {
        var count = Tensors.Value.Shape($"{name}.x")[^1];
        var size = SoftmaxSize(count);
        var values = new float[length];
        if (key == "softmax.q")
        {
            var logits = Tensors.Value.Floats($"{name}.x");
            float[] high = [.. logits.Select(x => (float)(Half)x)];
            CopyRows(high, count, values, size);
            CopyRows([.. logits.Zip(high, (x, h) => x - h)], count, values.AsSpan(count), size);
            return values;
        }

        for (var i = 0; i < count; i++)
        {
            values[(i * size) + i] = key == "softmax.k" ? (float)Math.Sqrt(size) : 1;
            values[(i * size) + count + i] = key == "softmax.k" ? (float)Math.Sqrt(size) : 0;
        }

        return values;
    }

    private static int SoftmaxSize(int count)
    {
        var size = 1;
        while (size < 2 * count)
        {
            size *= 4;
        }

        return size;
    }

    private static void CopyRows(float[] source, int sourcePitch, Span<float> target, int targetPitch)
    {
        for (var row = 0; row < source.Length / sourcePitch; row++)
        {
            source.AsSpan(row * sourcePitch, sourcePitch).CopyTo(target[(row * targetPitch)..]);
        }
    }
}
