using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// Computes a graph as it was recorded, in doubles, by the formulas of its operations and nothing else. It is slow on purpose: every
/// fast kernel is held against it, so it must be plain enough to be seen to be right.
/// </summary>
internal static class Reference
{
    /// <param name="graph">A graph that no rule has touched.</param>
    /// <param name="data">Values of an input by its key, or of a weight by its name; channels last.</param>
    /// <returns>The outputs by key.</returns>
    public static Dictionary<string, double[]> Evaluate(Graph graph, Func<string, float[]> data)
    {
        var results = new Dictionary<Value, double[]>();
        foreach (var value in graph.Values)
        {
            results.Add(value, Evaluate(value, [.. value.Inputs.Select(i => results[i])], name => [.. data(name).Select(v => (double)v)]));
        }

        return graph.Outputs.ToDictionary(o => o.Key, o => results[o.Value]);
    }

    private static double[] Evaluate(Value value, double[][] inputs, Func<string, double[]> data) => value.Op switch
    {
        Input input => data(input.Key),
        Contraction op => Contract(value, op, inputs[0], data),
        Attention op => Attend(value, op, inputs[0], inputs[1], inputs[2]),
        GroupNorm op => NormalizeGroups(value, op, inputs[0], data),
        LayerNorm op => NormalizeRows(value, op, inputs[0], data),
        Activate op => [.. inputs[0].Select(x => Activation(op.Activation, x))],
        Geglu => Gate(value, inputs[0]),
        Add => AddRows(value, inputs[0], inputs[1]),
        Concat => Concatenate(value, inputs[0], inputs[1]),
        Resize => Enlarge(value, inputs[0]),
        TokenEmbedding op => Embed(value, inputs[0], data(op.Tokens.Name), data(op.Positions.Name)),
        TimestepEmbedding op => Sinusoids(op, inputs[0]),
        _ => throw new InvalidOperationException($"{value}: not an operation that models record"),
    };

    private static double[] Contract(Value value, Contraction op, double[] x, Func<string, double[]> data)
    {
        if (op.HasEpilogue || op.Siblings.Count > 0 || op.ResizeTo is not null)
        {
            throw new InvalidOperationException($"{value}: a fused graph");
        }

        var (source, shape, window) = (value.Inputs[0].Shape, value.Shape, op.Window);
        var kernel = data(op.Kernel.Name);
        var bias = op.Bias is null ? new double[shape.C] : data(op.Bias.Name);
        var y = new double[shape.Count];
        for (var n = 0; n < shape.N; n++)
        for (var row = 0; row < shape.H; row++)
        for (var column = 0; column < shape.W; column++)
        for (var c = 0; c < shape.C; c++)
        {
            var sum = bias[c];
            for (var ky = 0; ky < window.Kernel; ky++)
            for (var kx = 0; kx < window.Kernel; kx++)
            {
                var (sy, sx) = ((row * window.Stride) + ky - window.PadTop, (column * window.Stride) + kx - window.PadLeft);
                if (sy < 0 || sy >= source.H || sx < 0 || sx >= source.W)
                {
                    continue;
                }

                for (var i = 0; i < source.C; i++)
                {
                    sum += kernel[(((((c * source.C) + i) * window.Kernel) + ky) * window.Kernel) + kx] * x[At(source, n, sy, sx, i)];
                }
            }

            y[At(shape, n, row, column, c)] = sum;
        }

        return y;
    }

    private static double[] Attend(Value value, Attention op, double[] q, double[] k, double[] v)
    {
        var (queries, keys, channels) = (value.Shape.RowsPerItem, value.Inputs[1].Shape.RowsPerItem, value.C);
        var size = channels / op.Heads;
        var y = new double[value.Shape.Count];
        for (var n = 0; n < value.Shape.N; n++)
        for (var head = 0; head < op.Heads; head++)
        for (var row = 0; row < queries; row++)
        {
            var count = op.Causal ? Math.Min(keys, row + 1) : keys;
            var logits = new double[count];
            for (var key = 0; key < count; key++)
            for (var i = 0; i < size; i++)
            {
                logits[key] += q[Index(n, queries, row, i)] * k[Index(n, keys, key, i)] / Math.Sqrt(size);
            }

            double[] weights = [.. logits.Select(l => Math.Exp(l - logits.Max()))];
            for (var i = 0; i < size; i++)
            {
                y[Index(n, queries, row, i)] = weights.Select((w, key) => w * v[Index(n, keys, key, i)]).Sum() / weights.Sum();
            }

            int Index(int item, int rows, int r, int i) => (((item * rows) + r) * channels) + (head * size) + i;
        }

        return y;
    }

    private static double[] NormalizeGroups(Value value, GroupNorm op, double[] x, Func<string, double[]> data)
    {
        var (shape, width) = (value.Shape, value.C / op.Groups);
        var (scale, offset) = (data(op.Scale.Name), data(op.Offset.Name));
        var y = new double[x.Length];
        for (var n = 0; n < shape.N; n++)
        for (var group = 0; group < op.Groups; group++)
        {
            var members = Enumerable.Range(0, shape.RowsPerItem * width)
                .Select(i => (((n * shape.RowsPerItem) + (i / width)) * shape.C) + (group * width) + (i % width)).ToArray();
            Normalize(x, y, members, op.Epsilon, scale, offset);
        }

        return op.Silu ? throw new InvalidOperationException($"{value}: a fused graph") : y;
    }

    private static double[] NormalizeRows(Value value, LayerNorm op, double[] x, Func<string, double[]> data)
    {
        var (scale, offset) = (data(op.Scale.Name), data(op.Offset.Name));
        var y = new double[x.Length];
        for (var row = 0; row < value.Shape.Rows; row++)
        {
            Normalize(x, y, [.. Enumerable.Range(row * value.C, value.C)], op.Epsilon, scale, offset);
        }

        return y;
    }

    private static void Normalize(double[] x, double[] y, int[] members, double epsilon, double[] scale, double[] offset)
    {
        var mean = members.Average(i => x[i]);
        var variance = members.Average(i => (x[i] - mean) * (x[i] - mean));
        foreach (var i in members)
        {
            y[i] = ((x[i] - mean) / Math.Sqrt(variance + epsilon) * scale[i % scale.Length]) + offset[i % scale.Length];
        }
    }

    private static double[] Gate(Value value, double[] x)
    {
        var y = new double[value.Shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var h = (i / value.C * 2 * value.C) + (i % value.C);
            y[i] = x[h] * Activation(Graphs.Activation.Gelu, x[h + value.C]);
        }

        return y;
    }

    private static double[] AddRows(Value value, double[] a, double[] b)
    {
        var rows = value.Shape.Rows / value.Inputs[1].Shape.Rows;
        return [.. a.Select((v, i) => v + b[(i / value.C / rows * value.C) + (i % value.C)])];
    }

    private static double[] Concatenate(Value value, double[] a, double[] b)
    {
        var (left, right) = (value.Inputs[0].C, value.Inputs[1].C);
        var y = new double[value.Shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var (row, column) = Math.DivRem(i, value.C);
            y[i] = column < left ? a[(row * left) + column] : b[(row * right) + column - left];
        }

        return y;
    }

    private static double[] Enlarge(Value value, double[] x)
    {
        var (shape, source) = (value.Shape, value.Inputs[0].Shape);
        var y = new double[shape.Count];
        for (var n = 0; n < shape.N; n++)
        for (var row = 0; row < shape.H; row++)
        for (var column = 0; column < shape.W; column++)
        for (var c = 0; c < shape.C; c++)
        {
            y[At(shape, n, row, column, c)] = x[At(source, n, row * source.H / shape.H, column * source.W / shape.W, c)];
        }

        return y;
    }

    private static double[] Embed(Value value, double[] ids, double[] tokens, double[] positions)
    {
        var y = new double[value.Shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var (row, column) = Math.DivRem(i, value.C);
            y[i] = tokens[((int)ids[row] * value.C) + column] + positions[(row % value.Shape.W * value.C) + column];
        }

        return y;
    }

    private static double[] Sinusoids(TimestepEmbedding op, double[] timesteps)
    {
        var half = op.Size / 2;
        return [.. timesteps.SelectMany(t =>
        {
            var angles = Enumerable.Range(0, half).Select(k => t * Math.Pow(10000, -k / (half - op.FrequencyShift))).ToArray();
            var (sines, cosines) = (angles.Select(Math.Sin), angles.Select(Math.Cos));
            return op.CosineFirst ? cosines.Concat(sines) : sines.Concat(cosines);
        })];
    }

    private static double Activation(Activation activation, double x) => activation switch
    {
        Graphs.Activation.Silu => x / (1 + Math.Exp(-x)),
        Graphs.Activation.QuickGelu => x / (1 + Math.Exp(-1.702 * x)),
        Graphs.Activation.Gelu => x >= 0 ? x * (1 - (0.5 * Erfc(x / Math.Sqrt(2)))) : x * 0.5 * Erfc(-x / Math.Sqrt(2)),
        _ => x,
    };

    /// <summary>erfc z for z >= 0: 1 - erf by its power series, or Laplace's continued fraction where that converges.</summary>
    private static double Erfc(double z)
    {
        if (z > 3)
        {
            var fraction = z;
            for (var k = 100; k > 0; k--)
            {
                fraction = z + (k / 2.0 / fraction);
            }

            return Math.Exp(-z * z) / Math.Sqrt(Math.PI) / fraction;
        }

        var (term, sum) = (z, z);
        for (var k = 1; k < 100; k++)
        {
            term *= -z * z / k;
            sum += term / ((2 * k) + 1);
        }

        return 1 - (2 / Math.Sqrt(Math.PI) * sum);
    }

    private static int At(Shape shape, int n, int h, int w, int c) => (((((n * shape.H) + h) * shape.W) + w) * shape.C) + c;
}
