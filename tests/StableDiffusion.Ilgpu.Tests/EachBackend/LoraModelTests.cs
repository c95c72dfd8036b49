using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>LoRAs and learned tokens through whole models: the same numbers as from files that hold the merged weights.</summary>
[Collection(SharedDevice.Name)]
public sealed class LoraModelTests(DeviceFixture fixture) : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public static MatrixTheoryData<string, string> Models => new(TinyModels.Names, Backend.BestNames);

    [Theory]
    [MemberData(nameof(Models))]
    public void UNet_with_a_lora_is_the_unet_of_a_merged_file(string name, string backend) => Dispatch(name, backend, ModelPart.UNet);

    [Theory]
    [MemberData(nameof(Models))]
    public void Text_encoder_with_a_lora_is_that_of_a_merged_file(string name, string backend) =>
        Dispatch(name, backend, ModelPart.TextEncoder);

    [Theory]
    [MemberData(nameof(Models))]
    public void Learned_tokens_are_rows_of_the_token_table(string name, string backend)
    {
        if (Backend.Find(backend).Half)
        {
            Learn<ushort>(name, Backend.Find(backend));
        }
        else
        {
            Learn<float>(name, Backend.Find(backend));
        }
    }

    public void Dispose() => folder.Dispose();

    private void Dispatch(string name, string backend, ModelPart part)
    {
        if (Backend.Find(backend).Half)
        {
            Merge<ushort>(name, Backend.Find(backend), part);
        }
        else
        {
            Merge<float>(name, Backend.Find(backend), part);
        }
    }

    private void Merge<T>(string name, Backend backend, ModelPart part) where T : unmanaged
    {
        using var plain = TinyModels.Load(name);
        var random = new Random(3);
        var (file, changes) = (new TensorFiles(), new Dictionary<string, double[]>());
        foreach (var weight in Record(plain, part).Weights.Where(w => w.Shape.Length > 1))
        {
            // A tenth of the weights' own size.
            const int rank = 2;
            var (rows, columns) = ((int)weight.Shape[0], (int)weight.Shape[1..].Aggregate(1L, (a, b) => a * b));
            float[] Make(int count, double size) =>
                [.. Enumerable.Range(0, count).Select(_ => (float)(size * ((2 * random.NextDouble()) - 1)))];
            var (up, down) = (Make(rows * rank, 1), Make(rank * columns, 0.1 / Math.Sqrt(columns)));
            var module = (part == ModelPart.UNet ? "unet." : "text_encoder.") + weight.Name[..^".weight".Length];
            file.Add($"{module}.lora_B.weight", [rows, rank], up).Add($"{module}.lora_A.weight", [rank, .. weight.Shape[1..]], down);
            changes.Add(weight.Name, [.. Enumerable.Range(0, rows * columns).Select(i => Enumerable.Range(0, rank).Sum(
                r => (double)up[(i / columns * rank) + r] * down[(r * columns) + (i % columns)]))]);
        }

        var path = file.Write(folder["lora.safetensors"]);
        using var changed = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Loras = [$"{path}:0.8"] });
        var unchanged = Run<T>(backend, plain, part, plain.OpenWeights(part));
        var merged = Run<T>(backend, changed, part, changed.OpenWeights(part));
        Assert.True(Comparisons.RelativeL2(merged, unchanged) > 1e-2, "the LoRA changed nothing");

        // The same weights from a file: every bit.
        var stored = new TensorFiles();
        using (var source = changed.OpenWeights(part))
        {
            foreach (var tensor in source.Tensors.Values.Where(t => FloatConversion.IsFloat(t.Type)))
            {
                var values = new float[tensor.Count];
                source.Read(tensor.Name, values);
                stored.Add(tensor.Name, tensor.Shape, values);
            }
        }

        Assert.Equal(merged, Run<T>(backend, plain, part, SafetensorsFile.Open(stored.Write(folder["merged.safetensors"]))));

        // Merged in fp64 and rounded to fp32 once: the difference is one of rounding.
        var exact = new TensorFiles();
        using (var source = plain.OpenWeights(part))
        {
            foreach (var tensor in source.Tensors.Values.Where(t => FloatConversion.IsFloat(t.Type)))
            {
                var values = new float[tensor.Count];
                source.Read(tensor.Name, values);
                var change = changes.GetValueOrDefault(tensor.Name) ?? new double[values.Length];
                exact.Add(tensor.Name, tensor.Shape, [.. values.Zip(change, (v, c) => (float)(v + (0.8 * c)))]);
            }
        }

        var expected = Run<T>(backend, plain, part, SafetensorsFile.Open(exact.Write(folder["exact.safetensors"])));
        var limit = part == ModelPart.UNet ? Limits.UNet(backend.Half) : Limits.Text(backend.Half);
        ReferenceData.Report($"{name} {part}, {backend}, LoRA against a file merged in fp64",
            Comparisons.RelativeL2(merged, expected), limit);

        // Without strength it is as if it were not there.
        using var off = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Loras = [$"{path}:0"] });
        Assert.Equal(unchanged, Run<T>(backend, off, part, off.OpenWeights(part)));
    }

    private void Learn<T>(string name, Backend backend) where T : unmanaged
    {
        using var plain = TinyModels.Load(name);

        // Any two neighbours of the vocabulary.
        const int known = 2368;
        var width = plain.TextConfig.Hidden;
        float[] rows;
        using (var source = plain.OpenWeights(ModelPart.TextEncoder))
        {
            // What is learned is what the model has already for two of its tokens, so that its own encoding is the expected one.
            var table = new float[source.Tensors[Weights.Embeddings.ExtendedTokenTable.TableName].Count];
            source.Read(Weights.Embeddings.ExtendedTokenTable.TableName, table);
            rows = [.. table.AsSpan(known * width, width), .. table.AsSpan((known + 1) * width, width)];
        }

        var path = new TensorFiles().Add("emb_params", [2, width], rows).Write(folder["two words.safetensors"]);
        using var changed = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Embeddings = [path] });
        var ids = changed.Tokenize("a Two Words, b");
        Assert.Equal(2, ids.Count(id => id >= plain.TextConfig.Vocabulary));
        int[] same = [.. ids.Select(id => id >= plain.TextConfig.Vocabulary ? known + (id - plain.TextConfig.Vocabulary) : id)];
        Assert.Equal(Encode<T>(backend, plain, same), Encode<T>(backend, changed, ids));
    }

    private float[] Encode<T>(Backend backend, LoadedModel model, int[] ids) where T : unmanaged
    {
        using var run = new GraphRun<T>(fixture, backend, model.RecordText(1), FusionOptions.All, model.OpenWeights(ModelPart.TextEncoder));
        run.Run("input_ids", ids);
        return run.Read("last_hidden_state");
    }

    private static Graph Record(LoadedModel model, ModelPart part) =>
        part == ModelPart.UNet ? UNet.Record(model.UNetConfig, 1, 8, 8, model.TextConfig.Tokens) : model.RecordText(1);

    private float[] Run<T>(Backend backend, LoadedModel model, ModelPart part, IWeightSource weights) where T : unmanaged
    {
        using var run = new GraphRun<T>(fixture, backend, Record(model, part), FusionOptions.All, weights);
        if (part == ModelPart.TextEncoder)
        {
            run.Run("input_ids", model.Tokenize("a cat on a mat"));
            return run.Read("last_hidden_state");
        }

        var random = new Random(9);
        float[] Make(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((2 * random.NextDouble()) - 1))];
        var (channels, context) = (model.UNetConfig.InChannels, model.UNetConfig.CrossAttention);
        run.Run(
            ("sample", Make(64 * channels), [1, channels, 8, 8]),
            ("encoder_hidden_states", Make(model.TextConfig.Tokens * context), [1, model.TextConfig.Tokens, context]),
            ("timestep", [500], [1]));
        return run.Read("out");
    }
}
