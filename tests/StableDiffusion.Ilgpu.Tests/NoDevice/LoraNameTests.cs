using System.Text.Json;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Lora;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>How LoRA files name modules, how options and prompts name LoRA files.</summary>
public sealed class LoraNameTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    /// <summary>Written in the files' own terms: what stands before a module of UNet and text encoder, endings of the up and down factor.</summary>
    private static readonly Dictionary<string, (string UNet, string Text, string Up, string Down)> Forms = new()
    {
        ["kohya"] = ("lora_unet_", "lora_te_", ".lora_up.weight", ".lora_down.weight"),
        ["kohya, of several text encoders"] = ("lora_unet_", "lora_te1_", ".lora_up.weight", ".lora_down.weight"),
        ["LyCORIS' wrapper"] = ("lycoris_", "lycoris_", ".lora_up.weight", ".lora_down.weight"),
        ["PEFT"] = ("unet.", "text_encoder.", ".lora_B.weight", ".lora_A.weight"),
        ["PEFT, default"] = ("unet.", "text_encoder.", ".lora_B.default.weight", ".lora_A.default.weight"),
        ["ComfyUI, 1.x"] = ("unet.", "text_encoders.clip_l.transformer.", ".lora_up.weight", ".lora_down.weight"),
        ["ComfyUI, 2.x"] = ("unet.", "text_encoders.clip_h.transformer.", ".lora_up.weight", ".lora_down.weight"),
        ["diffusers"] = ("unet.", "text_encoder.", ".lora.up.weight", ".lora.down.weight"),
        ["linear layers"] = ("unet.", "text_encoder.", ".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"),
    };

    public static MatrixTheoryData<string, string> FormsOfModels => new(TinyModels.Names, Forms.Keys);

    public static TheoryData<string> Models => [.. TinyModels.Names];

    [Theory]
    [MemberData(nameof(FormsOfModels))]
    public void Every_weight_of_a_model_has_a_name_in_every_form(string name, string form)
    {
        var (unet, text, up, down) = Forms[form];
        using var model = TinyModels.Load(name);
        foreach (var (part, prefix, tensors) in new[]
        {
            (ModelPart.UNet, unet, model.RecordUNet(1, 8, 8).Weights),
            (ModelPart.TextEncoder, text, model.RecordText(1).Weights),
        })
        {
            // Each weight gets a change of its own, so that a mix-up would show.
            var targets = tensors.Where(t => t.Shape.Length > 1).ToArray();
            var file = new TensorFiles();
            for (var i = 0; i < targets.Length; i++)
            {
                var module = targets[i].Name[..^".weight".Length];
                module = prefix + (prefix[^1] == '_' ? module.Replace('.', '_') : module);
                AddConstant(file, module + up, module + down, targets[i].Shape, i + 1);
            }

            AssertChanges(file, name, part, [.. targets.Select(t => t.Name)]);
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Processors_of_older_diffusers(string name)
    {
        using var model = TinyModels.Load(name);
        foreach (var prefix in new[] { "", "unet." })
        {
            var (file, shapes) = (new TensorFiles(), model.RecordUNet(1, 8, 8).Weights.ToDictionary(w => w.Name, w => w.Shape));
            string[] names =
            [
                .. shapes.Keys.Where(n => n.Contains(".attn", StringComparison.Ordinal) && n.EndsWith(".weight", StringComparison.Ordinal)),
            ];
            for (var i = 0; i < names.Length; i++)
            {
                var module = prefix + names[i][..^".weight".Length].Replace(".to_out.0", ".to_out", StringComparison.Ordinal)
                    .Replace(".to_", ".processor.to_", StringComparison.Ordinal);
                AddConstant(file, $"{module}_lora.up.weight", $"{module}_lora.down.weight", shapes[names[i]], i + 1);
            }

            AssertChanges(file, name, ModelPart.UNet, names);
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Projections_of_an_older_text_encoder(string name)
    {
        using var model = TinyModels.Load(name);
        var (file, names) = (new TensorFiles(), new List<string>());
        foreach (var (layer, weight) in model.RecordText(1).Weights.Where(w => w.Shape.Length == 2).Select(w => (w.Name.Split('.')[^2], w)))
        {
            if (layer is "q_proj" or "k_proj" or "v_proj" or "out_proj")
            {
                names.Add(weight.Name);
                var module = $"text_encoder.{weight.Name[..^$"{layer}.weight".Length]}to_{layer.Split('_')[0]}";
                AddConstant(file, $"{module}_lora.up.weight", $"{module}_lora.down.weight", weight.Shape, names.Count);
            }
        }

        AssertChanges(file, name, ModelPart.TextEncoder, [.. names]);
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Original_names_of_the_unet(string name)
    {
        var map = ReferenceData.PathOf(name, $"{name}-single-file.key-map.json");
        if (!File.Exists(map))
        {
            ReferenceData.LeaveOut($"{name}: original names of the UNet", $"{map} is not in the set");
            return;
        }

        const string original = "model.diffusion_model.", weight = ".weight";
        using var model = TinyModels.Load(name);
        var shapes = model.RecordUNet(1, 8, 8).Weights.ToDictionary(w => w.Name, w => w.Shape);
        var (file, generic, names) = (new TensorFiles(), new TensorFiles(), new List<string>());
        foreach (var pair in JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(File.ReadAllBytes(map))!)
        {
            if (pair.Key.StartsWith(original, StringComparison.Ordinal) && pair.Key.EndsWith(weight, StringComparison.Ordinal)
                && pair.Value.GetString()!["unet/".Length..] is var target && shapes[target].Length > 1)
            {
                names.Add(target);
                var module = pair.Key[original.Length..^weight.Length];
                var kohya = $"lora_unet_{module.Replace('.', '_')}";
                AddConstant(file, $"{kohya}.lora_up.weight", $"{kohya}.lora_down.weight", shapes[target], names.Count);
                AddConstant(
                    generic, $"diffusion_model.{module}.lora_up.weight", $"diffusion_model.{module}.lora_down.weight", shapes[target], names.Count);
            }
        }

        AssertChanges(file, name, ModelPart.UNet, [.. names]);
        AssertChanges(generic, name, ModelPart.UNet, [.. names]);
    }

    [Theory]
    [InlineData("a.safetensors", "a.safetensors", 1, 1)]
    [InlineData("a.safetensors:0.5", "a.safetensors", 0.5, 0.5)]
    [InlineData("a.safetensors:-1e-1", "a.safetensors", -0.1, -0.1)]
    [InlineData(@"C:\loras\a.safetensors", @"C:\loras\a.safetensors", 1, 1)]
    [InlineData(@"C:\loras\a.safetensors:.8", @"C:\loras\a.safetensors", 0.8, 0.8)]
    [InlineData(@"C:\loras\a.safetensors:.8:.5", @"C:\loras\a.safetensors", 0.8, 0.5)]
    [InlineData("/a:b/c.pt", "/a:b/c.pt", 1, 1)]
    [InlineData("/a:b/c.pt:0", "/a:b/c.pt", 0, 0)]
    [InlineData("/a:b/c.pt:0:1", "/a:b/c.pt", 0, 1)]
    [InlineData("a:1:0:2", "a:1", 0, 2)]
    public void Options_name_a_file_and_scales(string text, string path, double textEncoder, double unet)
    {
        var reference = LoraReference.Parse(text);
        Assert.Equal(new LoraReference(path, new(textEncoder, unet)), reference);
        Assert.Equal(reference, LoraReference.Parse(reference.ToString()));
    }

    [Theory]
    [InlineData(":0.5")]
    [InlineData("")]
    [InlineData("a:NaN")]
    [InlineData("a:1e999")]
    [InlineData("a:NaN:1")]
    [InlineData(":1:1")]
    public void Options_that_name_no_file_or_scale_are_refused(string text) =>
        WeightsTestFiles.Refused(() => LoraReference.Parse(text), $"'{text}'");

    [Theory]
    [InlineData("a cat", "a cat")]
    [InlineData("<lora:x:0.5>a cat", "a cat", "x at 0.5")]
    [InlineData("a <lora:x> cat<lora:y z.1:-2>", "a  cat", "x at 1", "y z.1 at -2")]
    [InlineData("<lora:x:0.5:0.8>a <lyco:y:2>cat", "a cat", "x at 0.5 (text encoder) and 0.8 (UNet)", "y at 2")]
    [InlineData("<lyco:y><lora:x:0:1>", "", "y at 1", "x at 0 (text encoder) and 1 (UNet)")]
    [InlineData("<lora:x:te=0.5>", "", "x at 0.5")]
    [InlineData("<lora:x:unet=0.5>", "", "x at 1 (text encoder) and 0.5 (UNet)")]
    [InlineData("<lora:x:unet=0.5:te=-2>", "", "x at -2 (text encoder) and 0.5 (UNet)")]
    [InlineData("<lora:x:0.7:unet=0.5>", "", "x at 0.7 (text encoder) and 0.5 (UNet)")]
    [InlineData("<lora:x:0.7:0.6:te=0.5>", "", "x at 0.5 (text encoder) and 0.6 (UNet)")]
    [InlineData("a < b > <LORA:x:1> <lorax:1>", "a < b > <LORA:x:1> <lorax:1>")]
    public void Prompts_name_loras(string prompt, string text, params string[] loras)
    {
        var parsed = PromptLoras.Parse(prompt);
        Assert.Equal(text, parsed.Text);
        Assert.Equal(loras, parsed.Loras.Select(l => $"{l.Name} at {l.Scale}"));
    }

    [Theory]
    [InlineData("<lora:>", "<lora:>")]
    [InlineData("a <lora:x:y> b", "<lora:x:y>")]
    [InlineData("a <lora:x:1:2:3> b", "<lora:x:1:2:3>", "a third number (dyn)")]
    [InlineData("a <lora:x:1:dyn=3> b", "<lora:x:1:dyn=3>", "'dyn' is not known")]
    [InlineData("a <lora:x:lbw=1,2> b", "<lora:x:lbw=1,2>", "'lbw' is not known")]
    [InlineData("a <lora:x:te=y> b", "<lora:x:te=y>")]
    [InlineData("a <lora:x:te=1:te=1> b", "<lora:x:te=1:te=1>", "'te' is there twice")]
    [InlineData("a <lyco:x:1:> b", "<lyco:x:1:>")]
    [InlineData("a <lora:x:NaN> b", "<lora:x:NaN>")]
    [InlineData("a <lora:x:1", "<lora:x:1")]
    public void Tags_that_cannot_be_read_are_refused(string prompt, string tag, params string[] parts) =>
        WeightsTestFiles.Refused(() => PromptLoras.Parse(prompt), [$"'{tag}'", "<lora:NAME:SCALE>", "<lora:NAME:TE:UNET>", .. parts]);

    [Fact]
    public void A_folder_resolves_the_names_in_prompts()
    {
        foreach (var name in new[] { "a.pt", "a.safetensors", "b.pt", "c.txt", "d.1.safetensors" })
        {
            File.WriteAllText(folder[name], "");
        }

        var resolved = LoraFolder.Resolve(folder.Path, "x <lora:a:0.5> <lora:d.1>", "<lora:b:2> <lora:a:0.5>");
        Assert.Equal([new(folder["a.safetensors"], new(0.5)), new(folder["d.1.safetensors"], new(1)), new(folder["b.pt"], new(2))], resolved);
        Assert.Empty(LoraFolder.Resolve(null, "x"));
        WeightsTestFiles.Refused(() => LoraFolder.Resolve(folder.Path, "<lora:c>"), "'c'", folder.Path, "a, b, d.1");
        WeightsTestFiles.Refused(() => LoraFolder.Resolve(folder.Path, "<lora:../a>"), "'../a'");
        WeightsTestFiles.Refused(() => LoraFolder.Resolve(null, "<lora:c>"), "'c'", "--lora-dir");
        WeightsTestFiles.Refused(() => LoraFolder.Resolve("/no/such/folder", "<lora:c>"), "/no/such/folder");
    }

    [Fact]
    public void A_trainers_name_is_looked_for_where_no_file_is_called_so()
    {
        string Write(string name, string? trained) => new TensorFiles().Add("x.lora_up.weight", [1, 1], [1]).Write(
            folder[name], trained is null ? null : new Dictionary<string, string> { ["ss_output_name"] = trained });
        var (first, second) = (Write("first_v2.safetensors", "first"), Write("second.safetensors", "a name"));
        Write("third.safetensors", "second");
        Write("one.safetensors", "twice");
        Write("two.safetensors", "twice");
        Write("none.safetensors", null);
        File.WriteAllText(folder["damaged.safetensors"], "");
        string Found(string name) => Assert.Single(LoraFolder.Resolve(folder.Path, $"<lora:{name}>")).Path;
        Assert.Equal([first, second, second], [Found("first"), Found("second"), Found("a name")]);
        WeightsTestFiles.Refused(() => Found("twice"), "'twice'", "several", "one.safetensors", "two.safetensors");
        WeightsTestFiles.Refused(() => Found("fourth"), "'fourth'", "first_v2");
    }

    [Fact]
    public void Folders_in_a_folder_are_looked_through_once()
    {
        foreach (var name in new[]
        {
            "loras/people/old/a.ckpt", "loras/people/b.pt", "loras/people/b.ckpt", "loras/twice.pt", "loras/styles/twice.CKPT", "elsewhere/c.pt",
        })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(folder[name])!);
            File.WriteAllText(folder[name], "");
        }

        var loras = folder["loras"];
        Link(Path.Combine(loras, "people", "old", "up"), Path.Combine("..", ".."));
        Link(Path.Combine(loras, "self"), loras);
        Link(Path.Combine(loras, "linked"), folder["elsewhere"]);
        string Found(string name) => Path.GetRelativePath(folder.Path, Assert.Single(LoraFolder.Resolve(loras, $"<lora:{name}>")).Path);
        Assert.Equal(Path.Combine("loras", "people", "old", "a.ckpt"), Found("a"));
        Assert.Equal(Path.Combine("loras", "people", "b.pt"), Found("b"));
        Assert.Equal(Path.Combine("loras", "linked", "c.pt"), Found("c"));
        WeightsTestFiles.Refused(
            () => Found("twice"), "'twice'", Path.Combine(loras, "twice.pt"), Path.Combine(loras, "styles", "twice.CKPT"));
        WeightsTestFiles.Refused(() => Found("d"), "'d'", "a, b, c, twice");
    }

    [Fact]
    public void Links_that_lead_to_one_another_are_no_folder()
    {
        Link(folder["probe"], folder.Path);
        Directory.CreateSymbolicLink(folder["one"], folder["two"]);
        Directory.CreateSymbolicLink(folder["two"], folder["one"]);
        WeightsTestFiles.Refused(() => LoraFolder.Resolve(folder["one"], "<lora:c>"), folder["one"], "no folder");
    }

    private static void Link(string path, string target)
    {
        try
        {
            Directory.CreateSymbolicLink(path, target);
        }
        catch (Exception e) when (OperatingSystem.IsWindows() && e is IOException or UnauthorizedAccessException)
        {
            // In Windows that is a right.
        }

        Assert.SkipUnless(Directory.Exists(path), "symbolic links cannot be made here");
    }

    public void Dispose() => folder.Dispose();

    /// <summary>A change that is <paramref name="value"/> everywhere.</summary>
    private static void AddConstant(TensorFiles file, string up, string down, long[] shape, float value) => file
        .Add(up, [shape[0], 1], [.. Enumerable.Repeat(1f, (int)shape[0])])
        .Add(down, [1, .. shape[1..]], [.. Enumerable.Repeat(value, (int)shape[1..].Aggregate(1L, (a, b) => a * b))]);

    private void AssertChanges(TensorFiles file, string name, ModelPart part, string[] targets)
    {
        Assert.NotEmpty(targets);
        var path = file.Write(folder["lora.safetensors"]);
        using var model = TinyModels.Load(name);
        using var changed = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Loras = [path] });
        var report = Assert.Single(changed.Loras);
        Assert.Empty(report.Unmatched);
        Assert.Equal(targets.Length, report.Tensors);
        using var before = model.OpenWeights(part);
        using var after = changed.OpenWeights(part);
        for (var i = 0; i < targets.Length; i++)
        {
            var (old, merged) = (new float[before.Tensors[targets[i]].Count], new float[before.Tensors[targets[i]].Count]);
            before.Read(targets[i], old);
            after.Read(targets[i], merged);
            Assert.Equal(old.Select(v => v + (i + 1f)), merged);
        }
    }
}
